"""From TOML and the environment to a frozen `Config`; plug-ins by name; validation and error messages."""
