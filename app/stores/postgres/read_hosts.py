"""The hosts of one address, each as an address of its own."""

from app.errors import SettingsError
from app.stores.postgres.database_url import sqlalchemy_url


def each_host(text: str, *, name: str) -> list[tuple[str, str]]:
    """The name of each host for people, with its port, and the URL of it alone, password included.

    Args:
        name: the setting that it comes from, for messages.

    Raises:
        SettingsError: not a PostgreSQL URL, or hosts and ports do not match.
    """
    url = sqlalchemy_url(text, name=name)
    hosts = str(url.query.get("host") or url.host or "").split(",")
    ports = str(url.query.get("port") or url.port or "5432").split(",")
    if len(ports) not in {1, len(hosts)}:
        raise SettingsError(f"{name} names {len(hosts)} hosts and {len(ports)} ports; give one port, or one for each")
    ports = ports if len(ports) == len(hosts) else ports * len(hosts)
    # Which of several hosts is asked is decided here; each is taken as the standby that it is.
    plain = url.difference_update_query(["host", "port", "target_session_attrs", "load_balance_hosts"])
    found = []
    for host, port in zip(hosts, ports, strict=True):
        if host.startswith("/") or not host:  # the directory of a socket
            one = plain.set(host=None, port=None).update_query_dict({"host": host, "port": port} if host else {})
        else:
            one = plain.set(host=host, port=int(port or 5432))
        found.append((f"{host or 'local socket'}:{port}", one.render_as_string(hide_password=False)))
    return found
