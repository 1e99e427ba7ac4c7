-- From 0.6.0 to 0.7.0: row-level security within the cache; views and foreign tables as sources.

ALTER TABLE @extschema@.vcache_namespace ADD COLUMN rls_settings text[];

DROP FUNCTION @extschema@.vcache_create_namespace(
    text, regclass, name, name, text, name[], name[], name, name, text, interval, integer, jsonb, boolean
);

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

CREATE OR REPLACE VIEW @extschema@.vcache_namespaces AS
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
