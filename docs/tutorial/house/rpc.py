"""XML-RPC calls as values. No I/O, no Trio, only the standard library."""

from xml.parsers import expat
from xmlrpc.client import Fault, dumps, loads

DEEPEST = 20  # elements inside one another; a call of getUser has six


def check(body: bytes) -> None:
    """Raise ValueError unless a call is plain XML: no document type, no entities, not deep."""
    depth = 0

    def forbid(*_: object) -> None:
        raise ValueError("a document type is not allowed")

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ValueError("elements are nested too deeply")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = forbid
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(body, True)


def user_in(body: bytes) -> str:
    """Return whom a call of getUser asks for. Raise Fault for anything else."""
    try:
        check(body)
        arguments, method = loads(body)
    except Exception as error:
        raise Fault(-32700, f"Not a call: {error}") from error
    match method, arguments:
        case "getUser", (str(user),):
            return user.lower()
    raise Fault(-32601, "Call getUser with one string")


def response(value: str | Fault) -> str:
    """Return the XML of a result or a fault."""
    return dumps(value) if isinstance(value, Fault) else dumps((value,), methodresponse=True)
