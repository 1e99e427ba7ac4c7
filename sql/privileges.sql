-- Who may do what. A search checks the privileges on its source itself, on every call, under the caller's role; registering
-- checks that the caller owns the source.

-- All may see what is registered: pg_dump of any role carries the table.
GRANT SELECT ON @extschema@.vcache_namespace, @extschema@.vcache_namespaces, @extschema@.vcache_stats, @extschema@.vcache_stats_total,
    @extschema@.vcache_sources
TO PUBLIC;

-- PostgreSQL asks it of whoever writes to a source.
GRANT EXECUTE ON FUNCTION @extschema@.vcache_row_changed(oid, tid) TO PUBLIC;

REVOKE ALL ON @extschema@.vcache_secret, @extschema@.vcache_source_clock FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.vcache_stats_reset(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.vcache_flush() FROM PUBLIC;

-- Which entries there are tells what others search for.
REVOKE ALL ON @extschema@.vcache_entries FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.vcache_entry_rows() FROM PUBLIC;
