"""Check `certificates`: those in the files of the configuration, those that are served, and that at `[http] url`."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import trio

from fingertrio.cli.doctor.check import Check, Report, reason_of
from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.tls import Certificate, Verdict, describe, look_at_served, shake_hands, trusting, verdict
from fingertrio.clients.dial import RemoteError
from fingertrio.http.tls import CertificateError, make_tls_context

# Days that are left, or a part of the whole time: certificates for six days, or for hours, are renewed later. Clients
# of ACME renew when a third is left, or a half, so these mean that it fails.
_WARNING, _PROBLEM = (14.0, 1 / 4), (3.0, 1 / 12)
_BEGIN = "-----BEGIN CERTIFICATE-----"
_RENEW = "renew it (certbot renew), and see why the timer did not; then systemctl reload fingertrio"


async def look_at_certificates(place: Installation, report: Report) -> None:
    """How long certificates last, and whether clients accept them."""
    seen: set[tuple[Path, Path]] = set()
    for name, certfile, keyfile in place.certificates():
        if (certfile, keyfile) not in seen:
            seen.add((certfile, keyfile))
            await trio.to_thread.run_sync(_look_at_file, place, report, name, certfile, keyfile)
        await _look_whether_served(place, report, name, certfile)
    if (parts := urlsplit(place.url or "")).scheme == "https":
        await _look_at_url(place, report, parts.hostname or "", parts.port or 443)


def _look_at_file(place: Installation, report: Report, section: str, certfile: Path, keyfile: Path) -> None:
    what = f"[{section}] {certfile}"
    try:
        server = make_tls_context(certfile, keyfile, protocols=())
        text = certfile.read_text("ascii", "replace")
    except (CertificateError, OSError) as error:
        report.problem(
            f"[{section}] {error}",
            "the server does not start with it, and a running one refuses to reload",
            "see docs/guide/operating.md, TLS: both files must belong together and be readable for the server's user",
        )
        return
    certificate = describe(shake_hands(server, trusting(_first(text)), "").getpeercert() or {})
    _report_days(report, what, certificate)
    name = urlsplit(place.url or "").hostname or "" if section == "http" else ""
    try:
        shake_hands(server, place.trust, name or certificate.name or "localhost")
    except ssl.SSLError as error:
        found = verdict(error)
        if found.fault == "chain" and text.count(_BEGIN) == 1:
            report.problem(
                f"{what}: the chain is incomplete: this machine does not know {certificate.issuer}, which signed it",
                "clients refuse the connection, except those that happen to know the missing certificate",
                "use the file with the whole chain (certbot: fullchain.pem); for an authority of your own: --ca FILE",
            )
        else:
            _report_refusal(report, what, name, found, certificate)


def _first(text: str) -> bytes:
    """The first certificate of a PEM file, as DER: the server's own."""
    _, begin, rest = text.partition(_BEGIN)
    body, end, _ = rest.partition("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(begin + body + end)


def _report_days(report: Report, what: str, certificate: Certificate) -> None:
    days = certificate.days_left(datetime.now(UTC))
    when = f"{certificate.ends:%Y-%m-%d %H:%M} UTC"
    if days < 0:
        report.problem(f"{what}: expired on {when}", "clients refuse the connection", _RENEW)
    elif days < _limit(certificate, _WARNING):
        level = report.problem if days < _limit(certificate, _PROBLEM) else report.warning
        level(f"{what}: {days:.1f} days left, until {when}", "clients will refuse the connection then", _RENEW)
    else:
        left = f"{int(days)} days" if days >= 1 else f"{days * 24:.0f} hours"
        report.ok(f"{what}: {left} left, for {', '.join(certificate.names) or 'no name'}")


def _limit(certificate: Certificate, limit: tuple[float, float]) -> float:
    days, part = limit
    return min(days, part * certificate.days)


def _report_refusal(report: Report, what: str, name: str, found: Verdict, certificate: Certificate) -> None:
    names = ", ".join(certificate.names) or "no name"
    match found.fault:
        case "expired":
            pass  # the days have said it
        case "name":
            report.problem(
                f"{what}: it is for {names}" + (f", not for {name}" if name else ""),
                "clients refuse the connection",
                f"get a certificate for {name or 'the name of this server'}, or correct [http] url",
            )
        case "early":
            report.problem(
                f"{what}: it is not valid yet",
                "clients refuse the connection, or the clock of this machine is wrong",
                "see the check clock",
            )
        case "self-signed" | "chain":
            report.warning(
                f"{what}: signed by {certificate.issuer}, an authority that this machine does not know",
                "clients that do not know it either refuse the connection",
                "a certificate of a public authority; or, for one of your own, fingertrio doctor --ca FILE",
            )
        case _:
            report.problem(f"{what}: {found.text}", "clients refuse the connection", "get another certificate")


async def _look_whether_served(place: Installation, report: Report, section: str, certfile: Path) -> None:
    """Whether the running server has the certificate that is in the file now."""
    texts = () if place.server is None else place.server.doors.get(section, ())
    secured = [text for text in texts if text.startswith(("https://", "tls://"))]
    addresses = [address for address in place.served(section) if address.path is None]
    if not secured or not addresses:
        return
    address = addresses[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    try:
        served = await look_at_served(host, address.port, host, None)
        current = _first(await trio.Path(certfile).read_text("ascii", "replace"))
    except (RemoteError, OSError, ValueError) as error:
        report.warning(
            f"[{section}] {address}: {reason_of(error, host)}",
            "it cannot be seen what is served",
            "see the check listening",
        )
        return
    if served.der != current:
        report.problem(
            f"[{section}] {address} still serves an older certificate, until {served.certificate.ends:%Y-%m-%d}",
            f"{certfile} was replaced, and the server has not read it again",
            'systemctl reload fingertrio; put it into the renewal: certbot --deploy-hook "systemctl reload fingertrio"',
        )


async def _look_at_url(place: Installation, report: Report, host: str, port: int) -> None:
    try:
        served = await look_at_served(host, port, host, place.trust)
    except RemoteError as error:
        level = report.problem if place.server is not None else report.warning
        level(
            f"{place.url}: {reason_of(error, host)}",
            "clients cannot connect by https",
            "see the checks url and listening",
        )
        return
    what = f"served at {place.url}"
    _report_days(report, what, served.certificate)
    if served.refused is not None:
        _report_refusal(report, what, host, served.refused, served.certificate)


def _skip(place: Installation) -> str:
    if any(place.certificates()) or urlsplit(place.url or "").scheme == "https":
        return ""
    return "neither certfile nor an https url is configured"


CHECK = Check(
    "certificates", "How long certificates last, and whether clients accept them", look_at_certificates, _skip
)
