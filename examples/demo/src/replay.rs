//! A stream of searches as applications make them, a few questions often and many seldom, replayed without and with the cache.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use postgres::types::ToSql;
use postgres::{Client, Statement};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::{SliceRandom, index};
use rand_distr::{Distribution, Zipf};

use crate::answer::{Answer, CACHED, PLAIN, agree};
use crate::corpus::Text;
use crate::database::{self, Counters, Vector};
use crate::embed::Embedder;
use crate::failure::{Failure, Outcome};
use crate::print::{self, Progress};

/// Different questions in a stream.
const DISTINCT: usize = 200;

/// Words of a question.
const WORDS: usize = 4;

/// How steep it is: the question of rank r is asked r^-1.1 times as often as the first. Logs of web searches are near 1.
const EXPONENT: f64 = 1.1;

/// Searches in a block; without and with the cache take turns by block, so that what disturbs the machine disturbs both.
const BLOCK: usize = 100;

/// Rows of an answer: the limit that stands in [`PLAIN`].
const TOP_K: i32 = 10;

/// One seed: every run of one build replays the same stream.
const SEED: u64 = 384;

/// Vectors of the different questions, and which of them is asked when.
pub struct Stream {
    questions: Vec<String>,
    vectors: Vec<Vector>,
    order: Vec<usize>,
}

impl Stream {
    /// Draws the questions from the words of the corpus (some words of one text each, in their order), and then the stream.
    pub fn draw(texts: &[Text], embedder: &Embedder, queries: usize) -> Outcome<Self> {
        let mut random = StdRng::seed_from_u64(SEED);
        let mut questions: Vec<String> = Vec::new();
        let mut vectors = Vec::new();
        let mut shuffled: Vec<&Text> = texts.iter().collect();
        shuffled.shuffle(&mut random);
        for text in shuffled {
            if vectors.len() == DISTINCT {
                break;
            }
            let words = text.body.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            if words.len() < WORDS {
                continue;
            }
            let mut places = index::sample(&mut random, words.len(), WORDS).into_vec();
            places.sort_unstable();
            let question: Vec<&str> = places.iter().filter_map(|&place| words.get(place).copied()).collect();
            let question = question.join(" ");
            // The same words in another order have the same vector: that would be one question asked in two ways.
            if let Some(vector) = embedder.embed(&question)
                && vectors.iter().all(|other: &Vector| other.0 != vector)
            {
                vectors.push(Vector(vector));
                questions.push(question);
            }
        }
        let zipf = Zipf::new(vectors.len() as f64, EXPONENT).map_err(|error| Failure::new(error.to_string()))?;
        let order = (0..queries).map(|_| zipf.sample(&mut random) as usize - 1).collect();
        Ok(Self { questions, vectors, order })
    }

    /// How many different questions are really asked.
    fn distinct(&self) -> usize {
        self.order.iter().collect::<HashSet<_>>().len()
    }
}

/// Replays the stream both ways and prints the comparison. A failure if any two answers differ.
pub fn compare(client: &mut Client, stream: &Stream) -> Outcome<()> {
    let examples: Vec<&str> = stream.questions.iter().take(2).map(String::as_str).collect();
    println!(
        "  {} searches, {} different ones: some often, most seldom (Zipf's law, exponent {EXPONENT}), made of the",
        print::thousands(stream.order.len() as u64),
        stream.distinct()
    );
    println!("  corpus' words, such as \"{}\"", examples.join("\", \""));
    println!("    without vcache: SELECT … FROM docs ORDER BY embedding <=> $1 LIMIT {TOP_K}");
    println!("    with vcache:    SELECT … FROM vcache_search('documents', $1, {TOP_K})");
    let plain = client.prepare(PLAIN)?;
    let cached = client.prepare(CACHED)?;
    client.batch_execute("SELECT vcache_stats_reset('documents')")?;

    let mut without = Timings::default();
    let mut with = Timings::default();
    let mut differing = 0_u64;
    let mut progress = Progress::new("in turn, on one connection, as prepared statements");
    for (number, block) in stream.order.chunks(BLOCK).enumerate() {
        let vectors: Vec<&Vector> = block.iter().filter_map(|&rank| stream.vectors.get(rank)).collect();
        // Who goes first alternates too: the second finds warm what the first has read.
        let (expected, found) = if number % 2 == 0 {
            let expected = without.run(client, &plain, &[], &vectors)?;
            (expected, with.run(client, &cached, &[&TOP_K], &vectors)?)
        } else {
            let found = with.run(client, &cached, &[&TOP_K], &vectors)?;
            (without.run(client, &plain, &[], &vectors)?, found)
        };
        differing += expected.iter().zip(&found).filter(|(one, other)| !agree(one, other)).count() as u64;
        progress.show(&format!("{} searches", print::thousands(with.times.len() as u64)));
    }
    progress.finish(&format!("{} searches", print::thousands((without.times.len() + with.times.len()) as u64)));

    let counters = Counters::read(client)?;
    println!();
    print_table(&mut without, &mut with, &counters);
    println!("\n  answers that differ: {differing} of {}", print::thousands(stream.order.len() as u64));
    counters.print_line();
    println!("  What is asked for the first time costs what it costs without a cache, and a little more: see P99.");
    println!();
    database::print_stats(client)?;
    if differing > 0 {
        return Err(Failure::new(format!("{differing} answers of vcache are not what RuVector answers")));
    }
    Ok(())
}

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// How long each search of one kind took, seen from the client: sending the vector, and receiving and reading the rows, included.
#[derive(Default)]
struct Timings {
    times: Vec<Duration>,
}

impl Timings {
    /// Runs a block of searches, one after the other, with the vector and `more` as parameters; their answers.
    fn run(
        &mut self,
        client: &mut Client,
        statement: &Statement,
        more: &[Parameter],
        vectors: &[&Vector],
    ) -> Outcome<Vec<Vec<Answer>>> {
        let mut answers = Vec::with_capacity(vectors.len());
        for vector in vectors {
            let mut parameters: Vec<Parameter> = vec![*vector];
            parameters.extend_from_slice(more);
            let start = Instant::now();
            let answer = Answer::all(client.query(statement, &parameters)?)?;
            self.times.push(start.elapsed());
            answers.push(answer);
        }
        Ok(answers)
    }

    fn total(&self) -> Duration {
        self.times.iter().sum()
    }

    fn average(&self) -> Duration {
        self.total() / self.times.len().max(1) as u32
    }

    /// The smallest time that at least this share of the searches did not exceed (nearest rank). Sorted before.
    fn percentile(&self, share: f64) -> Duration {
        let rank = (self.times.len() as f64 * share).ceil() as usize;
        self.times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.total().as_secs_f64()
    }
}

/// Prints both columns; times are sorted for the percentiles.
fn print_table(without: &mut Timings, with: &mut Timings, counters: &Counters) {
    without.times.sort_unstable();
    with.times.sort_unstable();
    let line = |name: &str, one: &str, other: &str, times: &str| {
        println!("{}", format!("    {name:<14}{one:>16}{other:>16}{times:>14}").trim_end());
    };
    let ratio = |one: f64, other: f64| format!("{:.1} times", one / other);
    let duration = |name: &str, one: Duration, other: Duration| {
        let faster = ratio(one.as_secs_f64(), other.as_secs_f64());
        line(name, &print::time(one), &print::time(other), &faster);
    };
    let per_second = |rate: f64| format!("{}/s", print::thousands(rate as u64));

    line("", "without vcache", "with vcache", "faster");
    duration("average", without.average(), with.average());
    duration("P50", without.percentile(0.50), with.percentile(0.50));
    duration("P95", without.percentile(0.95), with.percentile(0.95));
    duration("P99", without.percentile(0.99), with.percentile(0.99));
    let (one, other) = (without.per_second(), with.per_second());
    line("throughput", &per_second(one), &per_second(other), &ratio(other, one));
    duration("total time", without.total(), with.total());
    line("hit rate", "", &format!("{:.1} %", counters.hit_rate * 100.0), "");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let timings = Timings { times: (1..=100).map(Duration::from_millis).collect() };
        assert_eq!(timings.percentile(0.50), Duration::from_millis(50));
        assert_eq!(timings.percentile(0.99), Duration::from_millis(99));
        assert_eq!(Timings { times: vec![Duration::from_millis(7)] }.percentile(0.95), Duration::from_millis(7));
    }

    #[test]
    fn every_draw_gives_the_same_stream() {
        let texts: Vec<Text> = (0..400)
            .map(|id| {
                let body = format!("text number {id} of a small corpus");
                Text { id, kind: String::new(), name: String::new(), embedded: body.clone(), body }
            })
            .collect();
        let embedder = Embedder::learn(texts.iter().map(|text| text.embedded.as_str()));
        let one = Stream::draw(&texts, &embedder, 1000).expect("a stream");
        let other = Stream::draw(&texts, &embedder, 1000).expect("a stream");
        assert_eq!(one.order, other.order);
        assert_eq!(one.questions, other.questions);
        assert_eq!(one.questions.len(), one.vectors.len());
        let times = |rank| one.order.iter().filter(|&&asked| asked == rank).count();
        assert!(times(0) > times(1) && times(1) > times(20), "the first questions are asked most");
    }
}
