"""What Django finds as ``MySQLdb``: mysqlclient where it is installed, else PyMySQL, which needs no compiler."""

try:
    import MySQLdb  # noqa: F401
except ImportError:
    import pymysql
    import pymysql.connections

    pymysql.install_as_MySQLdb()
    # A worker opens a connection for each task, and to load the machine's certificates takes most of the time for that.
    pymysql.connections.SSL_ENABLED = False
