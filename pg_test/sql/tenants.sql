-- One table, many namespaces: the rows of a namespace are those whose column holds its name, or what follows a pattern's beginning.
CREATE TABLE notes (id int PRIMARY KEY, tenant text, embedding ruvector(2));
INSERT INTO notes VALUES
    (1, 'acme', '[1,0]'), (2, 'acme', '[2,0]'), (3, 'globex', '[3,0]'), (4, 'acme/eu', '[4,0]'), (5, NULL, '[0,0]'), (6, '*', '[6,0]');

SELECT vcache_stats_reset();

SELECT vcache_create_namespace('acme', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant');
SELECT vcache_create_namespace('notes/*', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant');
SELECT vcache_create_namespace('everything', 'notes', 'embedding', metric => 'l2');

SELECT id FROM vcache_search('acme', '[0,0]');
SELECT id FROM vcache_search('notes/acme', '[0,0]');
SELECT id FROM vcache_search('notes/acme/eu', '[0,0]');
SELECT id FROM vcache_search('notes/globex', '[0,0]');
SELECT id FROM vcache_search('notes/nobody', '[0,0]');
SELECT id FROM vcache_search('notes/*', '[0,0]');
SELECT id FROM vcache_search('everything', '[0,0]');
SELECT id FROM vcache_search('globex', '[0,0]');
SELECT id FROM vcache_search('note/acme', '[0,0]');

-- The exact name wins, then the longest pattern.
SELECT vcache_create_namespace('*', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant');
SELECT vcache_create_namespace('notes/acme/*', 'notes', 'embedding', metric => 'l2', namespace_column => 'tenant');
SELECT id FROM vcache_search('acme', '[0,0]');
SELECT id FROM vcache_search('globex', '[0,0]');
SELECT id FROM vcache_search('notes/acme/eu', '[0,0]');
SELECT id FROM vcache_search('notes/acme/globex', '[0,0]');
SELECT id FROM vcache_search('everything', '[0,0]', 1);

-- Counted under the name that was called.
SELECT namespace, lookups FROM vcache_stats WHERE lookups > 0 ORDER BY namespace COLLATE "C";

-- A column of another type: the name is cast to it.
ALTER TABLE notes ADD COLUMN number int;
UPDATE notes SET number = id % 2;
SELECT vcache_create_namespace('#*', 'notes', 'embedding', metric => 'l2', namespace_column => 'number');
SELECT id FROM vcache_search('#1', '[0,0]');
SELECT id FROM vcache_search('#01', '[0,0]');
SELECT id FROM vcache_search('#one', '[0,0]');

SELECT namespace, namespace_column FROM vcache_namespaces ORDER BY namespace COLLATE "C";
SELECT count(vcache_drop_namespace(namespace)) FROM vcache_namespaces;
SELECT vcache_stats_reset();
DROP TABLE notes;
