//! The demo of vcache, from top to bottom: load the texts of PostgreSQL's own catalogs, ask them questions in words, and replay a stream
//! of searches without and with the cache. It talks to a running PostgreSQL that has RuVector and vcache installed, and nothing else.

mod answer;
mod arguments;
mod corpus;
mod database;
mod embed;
mod failure;
mod print;
mod replay;

use std::process::ExitCode;
use std::time::Instant;

use postgres::Client;

use crate::answer::{Answer, CACHED};
use crate::arguments::Arguments;
use crate::database::Vector;
use crate::embed::Embedder;
use crate::failure::{Failure, Outcome};

/// Asked as a person would, in sentences; the catalogs use other forms of these words, or only some of them.
const QUESTIONS: [&str; 6] = [
    "How do I cancel a query that is running?",
    "Which setting limits the number of connections?",
    "What is the size of a database on disk?",
    "Round a number to the nearest integer",
    "Remove spaces from both ends of a string",
    "Is a standby server still in recovery?",
];

/// Answers that are printed under each question.
const ANSWERS: i32 = 3;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(failure) => return failure.report(),
    };
    match tell(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The story, in order.
fn tell(arguments: &Arguments) -> Outcome<()> {
    print::heading(1, "A database with RuVector and vcache");
    database::create_if_missing(arguments)?;
    let mut client = database::connect(arguments, &arguments.dbname)?;
    for extension in ["ruvector", "vcache"] {
        let version = database::create_extension(&mut client, extension)?;
        println!("  CREATE EXTENSION {extension};  -- version {version}");
    }
    // What an earlier run made goes first, while its table is still there. A namespace that is made anew meets none of the entries that
    // Redis may still hold for the old one.
    client.execute("SELECT vcache_drop_namespace('documents', if_exists => true)", &[])?;

    print::heading(2, "A real corpus: the texts in PostgreSQL's own catalogs");
    let texts = corpus::read(&mut client)?;
    corpus::print_kinds(&texts);

    print::heading(3, "Embedded, loaded and indexed");
    let embedder = Embedder::learn(texts.iter().map(|text| text.embedded.as_str()));
    corpus::load(&mut client, &texts, &embedder)?;
    corpus::index(&mut client)?;

    print::heading(4, "One call makes the table a namespace of the cache");
    create_namespace(&mut client)?;

    print::heading(5, "Questions, each asked twice");
    ask(&mut client, &embedder)?;

    print::heading(6, "A stream of searches, without and with the cache");
    let stream = replay::Stream::draw(&texts, &embedder, arguments.queries)?;
    replay::compare(&mut client, &stream)?;

    print::heading(7, "To go on by hand, in psql");
    println!("  SELECT id, distance, payload->>'name' AS name");
    println!("    FROM vcache_search('documents', (SELECT embedding FROM questions WHERE id = 1), 3);");
    println!("  SELECT * FROM vcache_stats;");
    Ok(())
}

fn create_namespace(client: &mut Client) -> Outcome<()> {
    client.execute(
        "SELECT vcache_create_namespace('documents', 'docs', 'embedding', payload_columns => '{kind,name,body}')",
        &[],
    )?;
    println!("  SELECT vcache_create_namespace('documents', 'docs', 'embedding',");
    println!("                                 payload_columns => '{{kind,name,body}}');");
    Ok(())
}

/// Asks every question twice: the engine answers the first time, the cache the second.
fn ask(client: &mut Client, embedder: &Embedder) -> Outcome<()> {
    database::replace_table(
        client,
        "questions",
        "id int PRIMARY KEY, question text NOT NULL, embedding ruvector(384) NOT NULL",
    )?;
    let keep = client.prepare("INSERT INTO questions VALUES ($1, $2, $3)")?;
    let search = client.prepare(CACHED)?;
    println!(
        "  The {ANSWERS} nearest texts by cosine distance: RuVector finds them the first time, vcache the second."
    );
    // What only the first search of a session does (connecting to Redis, loading libraries) is no part of a question's time.
    let greeting = embed(embedder, "PostgreSQL")?;
    client.query(&search, &[&greeting, &ANSWERS])?;
    client.batch_execute("SELECT vcache_stats_reset('documents')")?;

    for (number, question) in (1_i32..).zip(QUESTIONS) {
        let vector = embed(embedder, question)?;
        client.execute(&keep, &[&number, &question, &vector])?;

        let start = Instant::now();
        let answers = Answer::all(client.query(&search, &[&vector, &ANSWERS])?)?;
        let first = start.elapsed();
        let start = Instant::now();
        let again = Answer::all(client.query(&search, &[&vector, &ANSWERS])?)?;
        let second = start.elapsed();

        println!("\n  {question}");
        for line in answer::lines(&answers) {
            println!("{line}");
        }
        println!("    {} the first time, {} the second time", print::time(first), print::time(second));
        if !answer::agree(&answers, &again) {
            return Err(Failure::new(format!("the second answer to \"{question}\" is not the first one")));
        }
    }
    println!();
    database::Counters::read(client)?.print_line();
    Ok(())
}

fn embed(embedder: &Embedder, question: &str) -> Outcome<Vector> {
    let values = embedder
        .embed(question)
        .ok_or_else(|| Failure::new(format!("no word of \"{question}\" occurs in the corpus")))?;
    Ok(Vector(values))
}
