"""What Django finds as ``MySQLdb``: mysqlclient where it is installed, else PyMySQL, which needs no compiler."""

try:
    import MySQLdb  # noqa: F401
except ImportError:
    import pymysql

    pymysql.install_as_MySQLdb()
