-- From 0.2.0 to 0.3.0: vcache_flush, and a view that shows no index of a part of the rows.

-- Only names of PostgreSQL's own may stand without a schema: the one that the extension is created in may hold operators and functions of
-- somebody else's that fit better, and a view would keep what was found.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Frees the entries in Redis, all that stand under vcache.key_prefix; how many there were.
CREATE FUNCTION @extschema@.vcache_flush() RETURNS bigint
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_flush';

REVOKE ALL ON FUNCTION @extschema@.vcache_flush() FROM PUBLIC;

CREATE OR REPLACE VIEW @extschema@.vcache_namespaces AS
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
