"""What makes a config: its files, what may stand in them, and how entries are built."""

from rankseg_med.configuration.bundle import load_bundle
from rankseg_med.configuration.calibration_file import CalibrationFile, calibration_file_of, record_of
from rankseg_med.configuration.config import (
    Config,
    ConfigError,
    Device,
    digest_of,
    find_config,
    flat_settings,
    load_config,
    usable_device,
)
from rankseg_med.configuration.files import read_config_file

__all__ = [
    "CalibrationFile",
    "Config",
    "ConfigError",
    "Device",
    "calibration_file_of",
    "digest_of",
    "find_config",
    "flat_settings",
    "load_bundle",
    "load_config",
    "read_config_file",
    "record_of",
    "usable_device",
]
