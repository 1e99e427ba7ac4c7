-- The functions of vcache. What an argument means is told in the README.

-- The search: the rows of a namespace that are nearest to a vector, nearest first. This overload takes the vector as text,
-- '[0.1, 0.2]' or '{0.1, 0.2}'; an untyped literal and a driver's string come here.
CREATE FUNCTION @extschema@.vcache_search(
    namespace text,
    vector text,
    top_k integer DEFAULT 10,
    filter jsonb DEFAULT NULL,
    ttl interval DEFAULT NULL,
    OUT id text,
    OUT distance double precision,
    OUT payload jsonb
) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10 COST 100
AS 'MODULE_PATHNAME', 'vcache_search';

-- The same with the vector as the column's own type or as an array of numbers.
CREATE FUNCTION @extschema@.vcache_search(
    namespace text,
    vector anyelement,
    top_k integer DEFAULT 10,
    filter jsonb DEFAULT NULL,
    ttl interval DEFAULT NULL,
    OUT id text,
    OUT distance double precision,
    OUT payload jsonb
) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10 COST 100
AS 'MODULE_PATHNAME', 'vcache_search';

CREATE FUNCTION @extschema@.vcache_create_namespace(
    namespace text,
    source regclass,
    vector_column name,
    id_column name DEFAULT NULL,
    metric text DEFAULT NULL,
    payload_columns name[] DEFAULT NULL,
    filter_columns name[] DEFAULT NULL,
    metadata_column name DEFAULT NULL,
    namespace_column name DEFAULT NULL,
    freshness text DEFAULT 'exact',
    ttl interval DEFAULT NULL,
    fetch_k integer DEFAULT NULL,
    search_settings jsonb DEFAULT NULL,
    rls_settings text[] DEFAULT NULL,
    if_not_exists boolean DEFAULT false
) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'vcache_create_namespace';

CREATE FUNCTION @extschema@.vcache_alter_namespace(namespace text, options jsonb) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'vcache_alter_namespace';

CREATE FUNCTION @extschema@.vcache_drop_namespace(namespace text, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'vcache_drop_namespace';

-- What a search with these arguments would do, and why. It asks no engine, changes nothing and counts as nothing.
CREATE FUNCTION @extschema@.vcache_explain(
    namespace text,
    vector text,
    top_k integer DEFAULT 10,
    filter jsonb DEFAULT NULL,
    ttl interval DEFAULT NULL,
    OUT outcome text,
    OUT tier text,
    OUT reason text,
    OUT age interval,
    OUT expires_in interval,
    OUT key text,
    OUT key_parts jsonb
) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1 COST 100
AS 'MODULE_PATHNAME', 'vcache_explain';

CREATE FUNCTION @extschema@.vcache_explain(
    namespace text,
    vector anyelement,
    top_k integer DEFAULT 10,
    filter jsonb DEFAULT NULL,
    ttl interval DEFAULT NULL,
    OUT outcome text,
    OUT tier text,
    OUT reason text,
    OUT age interval,
    OUT expires_in interval,
    OUT key text,
    OUT key_parts jsonb
) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1 COST 100
AS 'MODULE_PATHNAME', 'vcache_explain';

CREATE FUNCTION @extschema@.vcache_invalidate(namespace text DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'vcache_invalidate';

-- Frees all entries in shared memory, and those in Redis that stand under vcache.key_prefix; how many there were.
CREATE FUNCTION @extschema@.vcache_flush() RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_flush';

-- How the parts are: status ok, degraded, down or off. It asks Redis.
CREATE FUNCTION @extschema@.vcache_health(OUT component text, OUT status text, OUT detail text) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 3 COST 1000
AS 'MODULE_PATHNAME', 'vcache_health';

-- What vcache_stats shows, as it stands in shared memory; times in milliseconds. A NULL namespace is all those that found no slot of
-- their own.
CREATE FUNCTION @extschema@.vcache_stats_rows(
    OUT namespace text,
    OUT shared_hits bigint,
    OUT redis_hits bigint,
    OUT misses_cold bigint,
    OUT misses_expired bigint,
    OUT misses_stale bigint,
    OUT misses_short bigint,
    OUT misses_unreachable bigint,
    OUT bypasses_disabled bigint,
    OUT bypasses_ttl bigint,
    OUT bypasses_row_security bigint,
    OUT bypasses_written bigint,
    OUT bypasses_serializable bigint,
    OUT bypasses_replica bigint,
    OUT bypasses_triggers bigint,
    OUT bypasses_clock bigint,
    OUT stores bigint,
    OUT evictions bigint,
    OUT redis_errors bigint,
    OUT redis_timeouts bigint,
    OUT engine_errors bigint,
    OUT total_hit_time double precision,
    OUT total_miss_time double precision,
    OUT total_bypass_time double precision,
    OUT stats_reset timestamptz
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'vcache_stats_rows_0_5';

CREATE FUNCTION @extschema@.vcache_stats_reset(namespace text DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_stats_reset';

-- What vcache_entries shows.
CREATE FUNCTION @extschema@.vcache_entry_rows(
    OUT namespace text,
    OUT key text,
    OUT bytes bigint,
    OUT age interval,
    OUT expires_in interval,
    OUT hits bigint
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 1000
AS 'MODULE_PATHNAME', 'vcache_entry_rows';

-- What vcache_sources shows.
CREATE FUNCTION @extschema@.vcache_source_rows(
    OUT source oid,
    OUT slots bigint,
    OUT last_change timestamptz,
    OUT changes_per_minute double precision,
    OUT triggers_in_place boolean
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'vcache_source_rows';

-- The function of the triggers on sources and their relatives.
CREATE FUNCTION @extschema@.vcache_source_changed() RETURNS trigger
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_source_changed';

-- The condition of the triggers that notes whose rows change, with a namespace_column. It is never true.
CREATE FUNCTION @extschema@.vcache_row_changed(source oid, place tid) RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_row_changed';

-- What DDL changes in sources and in what they all share; new partitions get their triggers.
CREATE FUNCTION @extschema@.vcache_ddl() RETURNS event_trigger
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'vcache_ddl';

CREATE EVENT TRIGGER vcache_ddl ON ddl_command_end EXECUTE FUNCTION @extschema@.vcache_ddl();
ALTER EVENT TRIGGER vcache_ddl ENABLE ALWAYS;
