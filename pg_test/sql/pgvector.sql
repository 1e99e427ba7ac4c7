-- The tour with pgvector, in a database of its own: it cannot share one with RuVector.
CREATE DATABASE regression_pgvector TEMPLATE template0;
\c regression_pgvector
CREATE EXTENSION vector;
CREATE EXTENSION vcache;

CREATE TABLE docs (id int PRIMARY KEY, title text, embedding vector(3));
INSERT INTO docs VALUES
    (1, 'north', '[0,1,0]'), (2, 'north-east', '[1,1,0]'), (3, 'east', '[1,0,0]'), (4, 'south', '[0,-1,0]'), (5, 'up', '[0,0,1]');
CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops);

SELECT vcache_create_namespace('documents', 'docs', 'embedding', payload_columns => '{title}', search_settings => '{"hnsw.ef_search": 100}');
SELECT namespace, metric, index, search_settings FROM vcache_namespaces;

SELECT id, round(distance::numeric, 4) AS distance, payload FROM vcache_search('documents', '[0.1,0.9,0]', 3);
SELECT id, round(distance::numeric, 4) AS distance, payload FROM vcache_search('documents', '[0.1,0.9,0]', 3);
SELECT id, payload ->> 'title' AS title FROM vcache_search('documents', '[0.1,0.9,0]'::vector, 2);
SELECT namespace, lookups, shared_hits, redis_hits, misses, bypasses, stores FROM vcache_stats;
SELECT status, detail FROM vcache_health() WHERE component = 'engine';

-- Every metric of the type; 'l1' is pgvector's alone.
SELECT vcache_create_namespace(metric, 'docs', 'embedding', metric => metric) FROM unnest('{l2,inner_product,l1}'::text[]) metric;
SELECT metric, id, round(distance::numeric, 4) AS distance
FROM unnest('{l2,cosine,inner_product,l1}'::text[]) metric,
    vcache_search(CASE metric WHEN 'cosine' THEN 'documents' ELSE metric END, '[3,0.8,0]', 2);

-- Half precision: a vector of any type finds it, rounded to it.
ALTER TABLE docs ADD COLUMN half halfvec(3);
UPDATE docs SET half = embedding;
SELECT vcache_create_namespace('half', 'docs', 'half', metric => 'l2');
SELECT id, distance FROM vcache_search('half', '[0,1.0001,0]', 1);
SELECT id, distance FROM vcache_search('half', '[0,1.0001,0]'::vector, 1);
SELECT id, distance FROM vcache_search('half', '[0,1,0]'::halfvec, 1);
SELECT lookups, shared_hits, redis_hits, misses FROM vcache_stats WHERE namespace = 'half';
SELECT id FROM vcache_search('half', '[0,1e5,0]', 1);

-- What is no vector to vcache, and what is no setting to pgvector.
ALTER TABLE docs ADD COLUMN sparse sparsevec(3);
SELECT vcache_create_namespace('sparse', 'docs', 'sparse', metric => 'l2');
SELECT * FROM vcache_search('documents', '{1:1,2:2}/3'::sparsevec);
SELECT vcache_alter_namespace('documents', '{"search_settings": {"hnsw.ef_search": 0}}');
SELECT vcache_alter_namespace('documents', '{"search_settings": {"hnsw.ef": 10}}');

\c regression
DROP DATABASE regression_pgvector;
