-- The documents' own tour: a table of texts, a namespace, a search that is a miss and then a hit, and the statistics that say so.
CREATE EXTENSION ruvector;
CREATE EXTENSION vcache;

CREATE TABLE docs (id int PRIMARY KEY, title text, embedding ruvector(3));
INSERT INTO docs VALUES
    (1, 'north', '[0,1,0]'), (2, 'north-east', '[1,1,0]'), (3, 'east', '[1,0,0]'), (4, 'south', '[0,-1,0]'), (5, 'up', '[0,0,1]');
CREATE INDEX ON docs USING hnsw (embedding ruvector_cosine_ops);

SELECT vcache_create_namespace('documents', 'docs', 'embedding', payload_columns => '{title}');

SELECT id, round(distance::numeric, 4) AS distance, payload FROM vcache_search('documents', '[0.1,0.9,0]', 3);
SELECT id, round(distance::numeric, 4) AS distance, payload FROM vcache_search('documents', '[0.1,0.9,0]', 3);
SELECT id, payload ->> 'title' AS title FROM vcache_search('documents', ARRAY[0.1, 0.9, 0], 2);

SELECT namespace, lookups, shared_hits, redis_hits, misses, bypasses, stores, round(hit_rate::numeric, 2) AS hit_rate FROM vcache_stats;

-- An answer may be as old as its ttl; '0' asks the engine.
DELETE FROM docs WHERE id = 1;
SELECT id FROM vcache_search('documents', '[0.1,0.9,0]', 3);
SELECT id FROM vcache_search('documents', '[0.1,0.9,0]', 3, ttl => '0');

-- A search joins like any set of rows.
SELECT d.title, s.id FROM docs d, LATERAL vcache_search('documents', d.embedding, 1) s ORDER BY d.id;

SELECT vcache_stats_reset();
SELECT vcache_drop_namespace('documents');
DROP TABLE docs;
