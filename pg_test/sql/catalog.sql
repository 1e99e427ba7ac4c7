-- What the extension consists of, and what its views show.
\dx+ vcache
\d vcache_namespaces
\d vcache_stats
\d vcache_entries
-- The functions, one a line.
\pset format unaligned
\pset tuples_only on
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') ' || pg_get_function_result(p.oid) || ', '
    || CASE provolatile WHEN 's' THEN 'stable' WHEN 'v' THEN 'volatile' ELSE 'immutable' END
    || ', parallel ' || CASE proparallel WHEN 'r' THEN 'restricted' WHEN 's' THEN 'safe' ELSE 'unsafe' END
FROM pg_proc p WHERE proname ~ '^vcache_' ORDER BY 1;
\pset tuples_only off
\pset format aligned

-- Every setting, and who may set it.
SELECT name, unit, vartype, context, boot_val, short_desc FROM pg_settings WHERE name LIKE 'vcache.%' ORDER BY name;

-- Nothing of it is anybody's to write.
SELECT relname, relkind, relacl FROM pg_class
WHERE relname ~ '^vcache_' AND relkind IN ('r', 'v', 'm', 'S') ORDER BY 1;
SELECT proname, proacl FROM pg_proc WHERE proname ~ '^vcache_' AND proacl IS NOT NULL ORDER BY 1;
