-- From 0.4.0 to 0.5.0: a tier in shared memory.

-- Only names of PostgreSQL's own may stand without a schema: the one that the extension is created in may hold operators and functions of
-- somebody else's that fit better, and a view would keep what was found.
SET LOCAL search_path = pg_catalog, pg_temp;

DROP VIEW @extschema@.vcache_stats_total;
DROP VIEW @extschema@.vcache_stats;
DROP FUNCTION @extschema@.vcache_stats_rows();

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

CREATE VIEW @extschema@.vcache_stats AS
SELECT coalesce(s.namespace, '(others)') AS namespace,
       s.shared_hits + s.redis_hits + o.misses + o.bypasses AS lookups,
       s.shared_hits,
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
       s.evictions,
       s.redis_errors,
       s.redis_timeouts,
       s.engine_errors,
       s.total_hit_time,
       s.total_miss_time,
       s.total_bypass_time,
       (s.shared_hits + s.redis_hits)::double precision
           / nullif(s.shared_hits + s.redis_hits + o.misses + o.bypasses, 0) AS hit_rate,
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
       coalesce(sum(shared_hits), 0)::bigint AS shared_hits,
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
       coalesce(sum(evictions), 0)::bigint AS evictions,
       coalesce(sum(redis_errors), 0)::bigint AS redis_errors,
       coalesce(sum(redis_timeouts), 0)::bigint AS redis_timeouts,
       coalesce(sum(engine_errors), 0)::bigint AS engine_errors,
       coalesce(sum(total_hit_time), 0) AS total_hit_time,
       coalesce(sum(total_miss_time), 0) AS total_miss_time,
       coalesce(sum(total_bypass_time), 0) AS total_bypass_time,
       sum(shared_hits + redis_hits)::double precision / nullif(sum(lookups), 0)::double precision AS hit_rate,
       min(stats_reset) AS stats_reset
FROM @extschema@.vcache_stats;

CREATE VIEW @extschema@.vcache_entries AS
SELECT namespace, key, bytes, age, expires_in, hits
FROM @extschema@.vcache_entry_rows();

GRANT SELECT ON @extschema@.vcache_stats, @extschema@.vcache_stats_total TO PUBLIC;

-- Which entries there are tells what others search for.
REVOKE ALL ON @extschema@.vcache_entries FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.vcache_entry_rows() FROM PUBLIC;
