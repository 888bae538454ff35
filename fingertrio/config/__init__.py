"""TOML and environment to a frozen `Config`; plug-ins by name, their options, and mistakes with a remedy."""
