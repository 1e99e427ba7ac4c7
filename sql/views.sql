-- The views of vcache.

CREATE VIEW @extschema@.vcache_namespaces AS
SELECT n.prefix || CASE WHEN n.is_pattern THEN '*' ELSE '' END AS namespace,
       n.source,
       n.vector_column,
       n.id_column,
       n.metric,
       n.payload_columns,
       n.filter_columns,
       n.metadata_column,
       n.namespace_column,
       i.index,
       n.freshness,
       n.ttl,
       n.fetch_k,
       s.search_settings,
       n.rls_settings
FROM @extschema@.vcache_namespace n
-- An index serves when its first column is the vector's and its operator class orders by the metric's operator. One of a part of the rows
-- serves some searches alone, and is not shown.
LEFT JOIN LATERAL (
    SELECT min(x.indexrelid)::regclass AS index
    FROM pg_catalog.pg_index x
    JOIN pg_catalog.pg_attribute t ON t.attrelid = x.indrelid AND t.attnum = x.indkey[0]
    JOIN pg_catalog.pg_opclass c ON c.oid = x.indclass[0]
    JOIN pg_catalog.pg_amop a
        ON a.amopfamily = c.opcfamily AND a.amoppurpose = 'o' AND a.amoplefttype = t.atttypid
    JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
    WHERE x.indrelid = n.source
      AND x.indisvalid
      AND x.indpred IS NULL
      AND t.attname = n.vector_column
      AND o.oprname = CASE n.metric
            WHEN 'l2' THEN '<->' WHEN 'cosine' THEN '<=>' WHEN 'inner_product' THEN '<#>' WHEN 'l1' THEN '<+>'
            ELSE n.metric
          END
) i ON true
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)) AS search_settings
    FROM unnest(n.search_settings) setting
) s ON true;

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

CREATE VIEW @extschema@.vcache_sources AS
SELECT source::regclass, slots, last_change, changes_per_minute, triggers_in_place
FROM @extschema@.vcache_source_rows()
ORDER BY source;

CREATE VIEW @extschema@.vcache_entries AS
SELECT namespace, key, bytes, age, expires_in, hits
FROM @extschema@.vcache_entry_rows();
