\echo Use "CREATE EXTENSION vcache VERSION '0.1.0'" to load this file. \quit
-- The objects of version 0.1.0 as they were, for the test of upgrades.

-- The tables of vcache. Searches read them by their indexes, without SPI, so the order of columns is known to
-- src/namespace/mod.rs and src/key.rs.

-- A row is a namespace. Its name is prefix, or prefix || '*' for a pattern.
CREATE TABLE @extschema@.vcache_namespace (
    is_pattern       boolean NOT NULL,
    prefix           text COLLATE "C" NOT NULL,
    revision         bigint NOT NULL,
    source           regclass NOT NULL,
    vector_column    name NOT NULL,
    id_column        name NOT NULL,
    metric           text NOT NULL,
    payload_columns  name[],
    namespace_column name,
    freshness        text NOT NULL,
    ttl              interval,
    fetch_k          integer,
    search_settings  text[],
    PRIMARY KEY (is_pattern, prefix)
);

-- A dump carries the namespaces.
SELECT pg_catalog.pg_extension_config_dump('@extschema@.vcache_namespace', '');

-- The database's secret, which seeds the hash of every key: 192 random bytes, drawn anew by every CREATE EXTENSION and carried
-- by no dump, so that a restored or re-created extension meets none of its old entries.
CREATE TABLE @extschema@.vcache_secret (secret bytea NOT NULL);

INSERT INTO @extschema@.vcache_secret
SELECT pg_catalog.decode(
    pg_catalog.string_agg(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), ''), 'hex')
FROM pg_catalog.generate_series(1, 12);

-- The functions of vcache. What an argument means is told in the README.

-- The search: the rows of a namespace that are nearest to a vector, nearest first. This overload takes the vector as text,
-- '[0.1, 0.2]' or '{0.1, 0.2}'; an untyped literal and a driver's string come here.
CREATE FUNCTION @extschema@.vcache_search(
    namespace text,
    vector text,
    top_k integer DEFAULT 10,
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
    namespace_column name DEFAULT NULL,
    freshness text DEFAULT 'ttl',
    ttl interval DEFAULT NULL,
    fetch_k integer DEFAULT NULL,
    search_settings jsonb DEFAULT NULL,
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

-- What vcache_stats shows, as it stands in shared memory. A NULL namespace is all those that found no slot of their own.
CREATE FUNCTION @extschema@.vcache_stats_rows(
    OUT namespace text,
    OUT redis_hits bigint,
    OUT misses bigint,
    OUT bypasses bigint,
    OUT stores bigint,
    OUT redis_errors bigint,
    OUT redis_timeouts bigint,
    OUT engine_errors bigint,
    OUT stats_reset timestamptz
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'vcache_stats_rows';

CREATE FUNCTION @extschema@.vcache_stats_reset(namespace text DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_stats_reset';

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

-- Who may do what. A search checks the privileges on its source itself, on every call, under the caller's role; registering
-- checks that the caller owns the source.

-- All may see what is registered: pg_dump of any role carries the table.
GRANT SELECT ON @extschema@.vcache_namespace, @extschema@.vcache_namespaces, @extschema@.vcache_stats TO PUBLIC;

REVOKE ALL ON @extschema@.vcache_secret FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.vcache_stats_reset(text) FROM PUBLIC;
