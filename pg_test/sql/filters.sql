-- Conditions on the rows of a search, in the syntax that vector stores have in common.
CREATE TABLE articles (id bigint PRIMARY KEY, lang text, year int, hidden int, meta jsonb, embedding ruvector(2));
INSERT INTO articles VALUES
    (1, 'en', 2019, 0, '{"tag": "a", "draft": true, "size": 10}', '[1,0]'),
    (2, 'en', 2021, 0, '{"tag": "b", "author": {"name": "Ada"}, "size": 20.0}', '[2,0]'),
    (3, 'de', 2022, 0, '{"tag": "c", "size": "20"}', '[3,0]'),
    (4, NULL, 2023, 0, NULL, '[4,0]'),
    (5, 'is', NULL, 0, '{"tag": null, "draft": false, "size": [20]}', '[5,0]');

-- The namespace says what filters may name.
SELECT vcache_create_namespace('articles', 'articles', 'embedding', metric => 'l2', filter_columns => '{lang,year}', metadata_column => 'meta');
SELECT namespace, filter_columns, metadata_column FROM vcache_namespaces;

CREATE FUNCTION found(filter jsonb) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(id, ' ' ORDER BY distance) FROM vcache_search('articles', '[0,0]', 10, filter) $$;

-- Everything of the issue at once.
SELECT found('{"lang": "en", "year": {"$gte": 2020}, "$or": [{"tag": {"$in": ["a", "b"]}}, {"draft": {"$exists": false}}]}');

-- Operators on a column, and inside the metadata.
SELECT filter, found(filter) FROM (VALUES
    ('{"lang": "en"}'::jsonb), ('{"lang": {"$eq": "en"}}'), ('{"lang": {"$ne": "en"}}'),
    ('{"year": {"$gt": 2021}}'), ('{"year": {"$gte": 2021}}'), ('{"year": {"$lt": 2021}}'), ('{"year": {"$lte": 2021}}'),
    ('{"year": {"$gt": 2019, "$lt": 2023}}'),
    ('{"lang": {"$in": ["de", "is", "xx"]}}'), ('{"lang": {"$in": []}}'), ('{"lang": {"$nin": ["de", "is"]}}'), ('{"lang": {"$nin": []}}'),
    ('{"year": {"$exists": true}}'), ('{"year": {"$exists": false}}'),
    ('{"year": {"$not": {"$gte": 2021}}}'),
    ('{"tag": "a"}'), ('{"author.name": "Ada"}'), ('{"draft": true}'), ('{"draft": {"$ne": true}}'),
    ('{"size": 20}'), ('{"size": "20"}'), ('{"size": {"$gte": 10}}'), ('{"size": {"$exists": true}}')
) f (filter);

-- Filters of filters.
SELECT filter, found(filter) FROM (VALUES
    ('{}'::jsonb), (NULL),
    ('{"lang": "en", "tag": "b"}'),
    ('{"$and": [{"lang": "en"}, {"tag": "b"}]}'),
    ('{"$or": [{"lang": "de"}, {"year": 2023}]}'),
    ('{"$not": {"$or": [{"lang": "de"}, {"year": 2023}]}}'),
    ('{"$not": {"lang": "en", "tag": "b"}}')
) f (filter);

-- A NULL, a key that is not there and a JSON null are one: no value. What compares with it is false, and its opposite true.
SELECT filter, found(filter) FROM (VALUES
    ('{"lang": null}'::jsonb), ('{"lang": {"$ne": null}}'), ('{"lang": {"$in": ["de", null]}}'), ('{"lang": {"$nin": ["de", null]}}'),
    ('{"tag": null}'), ('{"tag": {"$ne": null}}'), ('{"tag": {"$in": ["c", null]}}'), ('{"tag": {"$nin": ["c", null]}}'),
    ('{"tag": {"$ne": "c"}}'), ('{"tag": {"$not": {"$lt": "c"}}}'), ('{"nowhere": {"$exists": false}}')
) f (filter);

-- Two spellings of one filter share an entry, and two filters do not.
SELECT count(*) AS spellings, count(DISTINCT key) AS keys FROM (VALUES
    ('{"year": 2020, "lang": "en"}'::jsonb), ('{"lang": {"$eq": "en"}, "year": {"$in": [2020.0, 2020]}}'),
    ('{"$and": [{"lang": "en"}, {"year": {"$gte": 2020, "$lt": 2021}}]}'),
    ('{"$not": {"$or": [{"year": {"$ne": 2020}}, {"lang": {"$ne": "en"}}]}}')
) f (filter), vcache_explain('articles', '[0,0]', 10, filter);
SELECT count(DISTINCT key) AS keys FROM (VALUES
    ('{"year": 2020}'::jsonb), ('{"year": 2021}'), ('{"year": {"$ne": 2020}}'), ('{"size": 2020}'), ('{"size": "2020"}')
) f (filter), vcache_explain('articles', '[0,0]', 10, filter);
SELECT key_parts->'filter'->>'condition' AS condition
FROM vcache_explain('articles', '[0,0]', filter => '{"year": {"$gt": 2019}, "lang": {"$in": ["en", "de", "en"]}, "author.name": {"$ne": "Ada"}, "size": {"$lte": 1.50}}');

-- A filter goes with the other arguments.
SELECT id FROM vcache_search('articles', '[0,0]', 1, '{"lang": "en"}', '1 hour');
SELECT id FROM vcache_search('articles', '{0,0}'::real[], filter => '{"lang": "en"}', ttl => '0');

-- What is none says where, and what there is.
SELECT found('{"lnag": "en"}');
SELECT vcache_alter_namespace('articles', '{"metadata_column": null}');
SELECT found('{"lnag": "en"}');
SELECT found('{"$and": [{"hidden": 1}]}');
SELECT found('{"year": {"$near": 1}}');
SELECT found('{"year": {"$in": [1, "soon"]}}');
SELECT found('{"year": 2020.5}');
SELECT found('{"lang": 1}');
SELECT found('{"lang": ["en", "de"]}');
SELECT found('{"year": {"$gt": null}}');
SELECT found('["en"]');
SELECT found('{"$or": []}');
SELECT found(('{"lang": "' || repeat('x', 70000) || '"}')::jsonb);
SELECT found((repeat('{"$not": ', 70) || '{}' || repeat('}', 70))::jsonb);
SELECT vcache_alter_namespace('articles', '{"filter_columns": ["embedding"]}');
SELECT vcache_alter_namespace('articles', '{"metadata_column": "lang"}');

SELECT vcache_drop_namespace('articles');
DROP FUNCTION found;
DROP TABLE articles;
