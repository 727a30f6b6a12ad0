"""The database: SQLite in this folder, or the one that DATABASE_URL names."""

from pathlib import Path

from masonite.environment import env
from masoniteorm.config import db_url
from masoniteorm.connections import ConnectionResolver

FILE = Path(__file__).resolve().parents[1] / "database.sqlite3"

# postgres://user:password@host:5432/name, or sqlite:////path/to/file
URL = env("DATABASE_URL", "", cast=False) or f"sqlite:///{FILE}"

DATABASES = {"default": "main", "main": db_url(URL)}

DB = ConnectionResolver().set_connection_details(DATABASES)
