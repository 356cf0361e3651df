"""Models reflected from the target: a composite, an array of it and a range of one's own are unknown to SQLAlchemy."""

import os
import warnings

from sqlalchemy import MetaData, create_engine

from app.stores.postgres.database_url import sqlalchemy_url

Base = MetaData()
_ENGINE = create_engine(sqlalchemy_url(os.environ["DATABASE_URL"]))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    Base.reflect(_ENGINE)
_ENGINE.dispose()
