-- The tables of vcache. Searches read them by their indexes, without SPI, so the order of columns is known to
-- src/namespace/mod.rs and src/key.rs.

-- Only names of PostgreSQL's own may stand without a schema: the one that the extension is created in may hold operators and functions of
-- somebody else's that fit better, and a view would keep what was found.
SET LOCAL search_path = pg_catalog, pg_temp;

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
    filter_columns   name[],
    metadata_column  name,
    rls_settings     text[],
    PRIMARY KEY (is_pattern, prefix)
);

-- Written without the executor, so that nothing of it is published (src/pg/table_write.rs), and never applied from elsewhere.
ALTER TABLE @extschema@.vcache_namespace REPLICA IDENTITY NOTHING;

CREATE FUNCTION @extschema@.vcache_namespace_is_own() RETURNS trigger
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'vcache_namespace_is_own';

CREATE TRIGGER vcache_is_own BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.vcache_namespace
FOR EACH ROW EXECUTE FUNCTION @extschema@.vcache_namespace_is_own();
ALTER TABLE @extschema@.vcache_namespace ENABLE ALWAYS TRIGGER vcache_is_own;

-- A dump carries the namespaces whose source is there: it would write that of another as a number, which may be some other table's where
-- the dump is restored.
SELECT pg_catalog.pg_extension_config_dump(
    '@extschema@.vcache_namespace',
    'WHERE source::pg_catalog.oid IN (SELECT oid FROM pg_catalog.pg_class)'
);

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
