-- From 0.5.0 to 0.6.0: filters.

-- Only names of PostgreSQL's own may stand without a schema: the one that the extension is created in may hold operators and functions of
-- somebody else's that fit better, and a view would keep what was found.
SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE @extschema@.vcache_namespace ADD COLUMN filter_columns name[], ADD COLUMN metadata_column name;

DROP FUNCTION @extschema@.vcache_search(text, text, integer, interval);
DROP FUNCTION @extschema@.vcache_search(text, anyelement, integer, interval);
DROP FUNCTION @extschema@.vcache_explain(text, text, integer, interval);
DROP FUNCTION @extschema@.vcache_explain(text, anyelement, integer, interval);
DROP FUNCTION @extschema@.vcache_create_namespace(text, regclass, name, name, text, name[], name, text, interval, integer, jsonb, boolean);

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
    if_not_exists boolean DEFAULT false
) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'vcache_create_namespace';

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

DROP VIEW @extschema@.vcache_namespaces;

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

GRANT SELECT ON @extschema@.vcache_namespaces TO PUBLIC;
