-- From 0.3.0 to 0.4.0: freshness 'exact'. Namespaces stay what they are; vcache_alter_namespace makes them exact.

-- Only names of PostgreSQL's own may stand without a schema: the one that the extension is created in may hold operators and functions of
-- somebody else's that fit better, and a view would keep what was found.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Written without the executor, so that nothing of it is published (src/pg/table_write.rs), and never applied from elsewhere.
ALTER TABLE @extschema@.vcache_namespace REPLICA IDENTITY NOTHING;

CREATE FUNCTION @extschema@.vcache_namespace_is_own() RETURNS trigger
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_namespace_is_own';

CREATE TRIGGER vcache_is_own BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.vcache_namespace
FOR EACH ROW EXECUTE FUNCTION @extschema@.vcache_namespace_is_own();
ALTER TABLE @extschema@.vcache_namespace ENABLE ALWAYS TRIGGER vcache_is_own;

-- Entries of before have another format and are not met again.
DROP TABLE @extschema@.vcache_secret;

-- The database's secret, which seeds the hash of every key: 192 random bytes, drawn anew by every CREATE EXTENSION and carried by no dump, so
-- that a restored or re-created extension meets none of its old entries. A materialized view is never published: a subscriber of ALL TABLES
-- hears nothing of it. It must not be refreshed, which its query refuses.
CREATE FUNCTION @extschema@.vcache_secret_is_drawn() RETURNS boolean
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_secret_is_drawn';

CREATE MATERIALIZED VIEW @extschema@.vcache_secret AS
SELECT pg_catalog.decode(
    pg_catalog.string_agg(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), ''), 'hex') AS secret
FROM pg_catalog.generate_series(1, 12)
WHERE @extschema@.vcache_secret_is_drawn();

REVOKE ALL ON @extschema@.vcache_secret FROM PUBLIC;

-- The clocks: see src/clock.rs. Written by the triggers without the executor, and never published, as above. It must not be refreshed,
-- which its query refuses.
CREATE FUNCTION @extschema@.vcache_clock_is_not_refreshed(
    OUT scope bigint,
    OUT id bigint,
    OUT epoch bigint,
    OUT token bigint,
    OUT changes bigint,
    OUT changed_at bigint,
    OUT rate double precision
) RETURNS SETOF record
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_clock_is_not_refreshed';

-- Rows are replaced all the time, and an old version costs every reader. To truncate the file would take a lock that cancels queries on
-- standbys.
CREATE MATERIALIZED VIEW @extschema@.vcache_source_clock
WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 1000000000,
    vacuum_truncate = off
) AS
SELECT scope, id, epoch, token, changes, changed_at, rate FROM @extschema@.vcache_clock_is_not_refreshed()
WITH NO DATA;

-- Newest versions first.
CREATE INDEX vcache_source_clock_index ON @extschema@.vcache_source_clock (scope, id, epoch DESC);

REVOKE ALL ON @extschema@.vcache_source_clock FROM PUBLIC;

DROP FUNCTION @extschema@.vcache_create_namespace(
    text, regclass, name, name, text, name[], name, text, interval, integer, jsonb, boolean
);

CREATE FUNCTION @extschema@.vcache_create_namespace(
    namespace text,
    source regclass,
    vector_column name,
    id_column name DEFAULT NULL,
    metric text DEFAULT NULL,
    payload_columns name[] DEFAULT NULL,
    namespace_column name DEFAULT NULL,
    freshness text DEFAULT 'exact',
    ttl interval DEFAULT NULL,
    fetch_k integer DEFAULT NULL,
    search_settings jsonb DEFAULT NULL,
    if_not_exists boolean DEFAULT false
) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'vcache_create_namespace';

DROP VIEW @extschema@.vcache_stats_total;
DROP VIEW @extschema@.vcache_stats;
DROP FUNCTION @extschema@.vcache_stats_rows();

-- What vcache_stats shows, as it stands in shared memory; times in milliseconds. A NULL namespace is all those that found no slot of
-- their own.
CREATE FUNCTION @extschema@.vcache_stats_rows(
    OUT namespace text,
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
    OUT redis_errors bigint,
    OUT redis_timeouts bigint,
    OUT engine_errors bigint,
    OUT total_hit_time double precision,
    OUT total_miss_time double precision,
    OUT total_bypass_time double precision,
    OUT stats_reset timestamptz
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'vcache_stats_rows_0_4';

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

CREATE VIEW @extschema@.vcache_stats AS
SELECT coalesce(s.namespace, '(others)') AS namespace,
       s.redis_hits + o.misses + o.bypasses AS lookups,
       s.redis_hits,
       o.misses,
       s.misses_cold,
       s.misses_expired,
       s.misses_stale,
       s.misses_short,
       s.misses_unreachable,
       o.bypasses,
       s.bypasses_disabled,
       s.bypasses_ttl,
       s.bypasses_row_security,
       s.bypasses_written,
       s.bypasses_serializable,
       s.bypasses_replica,
       s.bypasses_triggers,
       s.bypasses_clock,
       s.stores,
       s.redis_errors,
       s.redis_timeouts,
       s.engine_errors,
       s.total_hit_time,
       s.total_miss_time,
       s.total_bypass_time,
       s.redis_hits::double precision / nullif(s.redis_hits + o.misses + o.bypasses, 0) AS hit_rate,
       s.stats_reset
FROM @extschema@.vcache_stats_rows() s
CROSS JOIN LATERAL (
    SELECT s.misses_cold + s.misses_expired + s.misses_stale + s.misses_short + s.misses_unreachable AS misses,
           s.bypasses_disabled + s.bypasses_ttl + s.bypasses_row_security + s.bypasses_written
               + s.bypasses_serializable + s.bypasses_replica + s.bypasses_triggers + s.bypasses_clock AS bypasses
) o
-- The counters of a namespace outlive it; only what is registered is shown.
WHERE s.namespace IS NULL
   OR EXISTS (
       SELECT FROM @extschema@.vcache_namespace n
       WHERE CASE WHEN n.is_pattern THEN starts_with(s.namespace, n.prefix) ELSE s.namespace = n.prefix END
   )
ORDER BY s.namespace NULLS LAST;

CREATE VIEW @extschema@.vcache_stats_total AS
SELECT coalesce(sum(lookups), 0)::bigint AS lookups,
       coalesce(sum(redis_hits), 0)::bigint AS redis_hits,
       coalesce(sum(misses), 0)::bigint AS misses,
       coalesce(sum(misses_cold), 0)::bigint AS misses_cold,
       coalesce(sum(misses_expired), 0)::bigint AS misses_expired,
       coalesce(sum(misses_stale), 0)::bigint AS misses_stale,
       coalesce(sum(misses_short), 0)::bigint AS misses_short,
       coalesce(sum(misses_unreachable), 0)::bigint AS misses_unreachable,
       coalesce(sum(bypasses), 0)::bigint AS bypasses,
       coalesce(sum(bypasses_disabled), 0)::bigint AS bypasses_disabled,
       coalesce(sum(bypasses_ttl), 0)::bigint AS bypasses_ttl,
       coalesce(sum(bypasses_row_security), 0)::bigint AS bypasses_row_security,
       coalesce(sum(bypasses_written), 0)::bigint AS bypasses_written,
       coalesce(sum(bypasses_serializable), 0)::bigint AS bypasses_serializable,
       coalesce(sum(bypasses_replica), 0)::bigint AS bypasses_replica,
       coalesce(sum(bypasses_triggers), 0)::bigint AS bypasses_triggers,
       coalesce(sum(bypasses_clock), 0)::bigint AS bypasses_clock,
       coalesce(sum(stores), 0)::bigint AS stores,
       coalesce(sum(redis_errors), 0)::bigint AS redis_errors,
       coalesce(sum(redis_timeouts), 0)::bigint AS redis_timeouts,
       coalesce(sum(engine_errors), 0)::bigint AS engine_errors,
       coalesce(sum(total_hit_time), 0) AS total_hit_time,
       coalesce(sum(total_miss_time), 0) AS total_miss_time,
       coalesce(sum(total_bypass_time), 0) AS total_bypass_time,
       sum(redis_hits)::double precision / nullif(sum(lookups), 0)::double precision AS hit_rate,
       min(stats_reset) AS stats_reset
FROM @extschema@.vcache_stats;

CREATE VIEW @extschema@.vcache_sources AS
SELECT source::regclass, slots, last_change, changes_per_minute, triggers_in_place
FROM @extschema@.vcache_source_rows()
ORDER BY source;

GRANT SELECT ON @extschema@.vcache_stats, @extschema@.vcache_stats_total, @extschema@.vcache_sources TO PUBLIC;

-- PostgreSQL asks it of whoever writes to a source.
GRANT EXECUTE ON FUNCTION @extschema@.vcache_row_changed(oid, tid) TO PUBLIC;
