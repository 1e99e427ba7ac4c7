-- The views of vcache.

CREATE VIEW @extschema@.vcache_namespaces AS
SELECT n.prefix || CASE WHEN n.is_pattern THEN '*' ELSE '' END AS namespace,
       n.source,
       n.vector_column,
       n.id_column,
       n.metric,
       n.payload_columns,
       n.namespace_column,
       i.index,
       n.freshness,
       n.ttl,
       n.fetch_k,
       s.search_settings
FROM @extschema@.vcache_namespace n
-- An index serves when its first column is the vector's and its operator class orders by the metric's operator.
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
       s.redis_hits + s.misses + s.bypasses AS lookups,
       s.redis_hits,
       s.misses,
       s.bypasses,
       s.stores,
       s.redis_errors,
       s.redis_timeouts,
       s.engine_errors,
       s.redis_hits::double precision / nullif(s.redis_hits + s.misses + s.bypasses, 0) AS hit_rate,
       s.stats_reset
FROM @extschema@.vcache_stats_rows() s
-- The counters of a namespace outlive it; only what is registered is shown.
WHERE s.namespace IS NULL
   OR EXISTS (
       SELECT FROM @extschema@.vcache_namespace n
       WHERE CASE WHEN n.is_pattern THEN starts_with(s.namespace, n.prefix) ELSE s.namespace = n.prefix END
   )
ORDER BY s.namespace NULLS LAST;
