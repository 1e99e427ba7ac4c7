// node-postgres through pgbouncer: without a name a statement needs no session.

const assert = require('node:assert/strict');
const { Pool } = require('pg');

async function main() {
    const pools = [new Pool({ max: 1 }), new Pool({ max: 1 })];
    const processes = new Set();
    for (let number = 0; number < 10; number++) {
        const pool = pools[number % 2];
        const { rows } = await pool.query('SELECT id FROM vcache_search($1, $2, $3)', ['documents', [1, 2, 3, 4, 5, 6, 7, 8], 3]);
        assert.equal(rows.length, 3);
        processes.add((await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid);
    }
    assert.equal(processes.size, 1);
    for (const pool of pools) await pool.end();
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
