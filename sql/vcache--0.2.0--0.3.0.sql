-- From 0.2.0 to 0.3.0: vcache_flush.

-- Frees the entries in Redis, all that stand under vcache.key_prefix; how many there were.
CREATE FUNCTION @extschema@.vcache_flush() RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_flush';

REVOKE ALL ON FUNCTION @extschema@.vcache_flush() FROM PUBLIC;
