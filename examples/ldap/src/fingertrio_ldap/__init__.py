"""Users and statuses from an LDAP directory (RFC 4510): a backend for fingertrio, and an example of a larger one.

`options.py` has the keys of its table, `entries.py` what a user looks like in the directory. `connection.py`, `pool.py`
and `directory.py` talk to it through ldap3, which blocks. `backend.py` has what Trio and the contract of backends need.
"""

import warnings

with warnings.catch_warnings():
    # ldap3 2.9 imports two names that pyasn1 has deprecated, and which it keeps for ldap3.
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3  # noqa: F401 - imported here first, so that nothing else imports it with the warnings

from fingertrio_ldap.backend import open_ldap
from fingertrio_ldap.options import LDAPOptions

__all__ = ["LDAPOptions", "open_ldap"]
