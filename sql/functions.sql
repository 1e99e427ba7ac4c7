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
