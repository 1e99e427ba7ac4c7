-- From 0.1.0 to 0.2.0: statistics by reason and with times, vcache_explain, vcache_health, vcache_invalidate.

-- Only names of PostgreSQL's own may stand without a schema: the one that the extension is created in may hold operators and functions of
-- somebody else's that fit better, and a view would keep what was found.
SET LOCAL search_path = pg_catalog, pg_temp;

-- What a search with these arguments would do, and why. It asks no engine, changes nothing and counts as nothing.
CREATE FUNCTION @extschema@.vcache_explain(
    namespace text,
    vector text,
    top_k integer DEFAULT 10,
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

-- How the parts are: status ok, degraded, down or off. It asks Redis.
CREATE FUNCTION @extschema@.vcache_health(OUT component text, OUT status text, OUT detail text) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 3 COST 1000
AS 'MODULE_PATHNAME', 'vcache_health';

DROP VIEW @extschema@.vcache_stats;
DROP FUNCTION @extschema@.vcache_stats_rows();

-- What vcache_stats shows, as it stands in shared memory; times in milliseconds. A NULL namespace is all those that found no slot of
-- their own.
CREATE FUNCTION @extschema@.vcache_stats_rows(
    OUT namespace text,
    OUT redis_hits bigint,
    OUT misses_cold bigint,
    OUT misses_expired bigint,
    OUT misses_short bigint,
    OUT misses_unreachable bigint,
    OUT bypasses_disabled bigint,
    OUT bypasses_ttl bigint,
    OUT bypasses_row_security bigint,
    OUT bypasses_written bigint,
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
AS 'MODULE_PATHNAME', 'vcache_stats_rows_0_2';

CREATE VIEW @extschema@.vcache_stats AS
SELECT coalesce(s.namespace, '(others)') AS namespace,
       s.redis_hits + o.misses + o.bypasses AS lookups,
       s.redis_hits,
       o.misses,
       s.misses_cold,
       s.misses_expired,
       s.misses_short,
       s.misses_unreachable,
       o.bypasses,
       s.bypasses_disabled,
       s.bypasses_ttl,
       s.bypasses_row_security,
       s.bypasses_written,
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
    SELECT s.misses_cold + s.misses_expired + s.misses_short + s.misses_unreachable AS misses,
           s.bypasses_disabled + s.bypasses_ttl + s.bypasses_row_security + s.bypasses_written AS bypasses
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
       coalesce(sum(misses_short), 0)::bigint AS misses_short,
       coalesce(sum(misses_unreachable), 0)::bigint AS misses_unreachable,
       coalesce(sum(bypasses), 0)::bigint AS bypasses,
       coalesce(sum(bypasses_disabled), 0)::bigint AS bypasses_disabled,
       coalesce(sum(bypasses_ttl), 0)::bigint AS bypasses_ttl,
       coalesce(sum(bypasses_row_security), 0)::bigint AS bypasses_row_security,
       coalesce(sum(bypasses_written), 0)::bigint AS bypasses_written,
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

GRANT SELECT ON @extschema@.vcache_stats, @extschema@.vcache_stats_total TO PUBLIC;

-- A dump carries the namespaces whose source is there: it would write that of another as a number, which may be some other table's where
-- the dump is restored.
SELECT pg_catalog.pg_extension_config_dump(
    '@extschema@.vcache_namespace',
    'WHERE source::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_class)'
);
