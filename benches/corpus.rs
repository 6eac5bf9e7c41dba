//! How fast a text is indexed, in bytes a second: its characters are found, then their places.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use data_io::tokenizer::Char;
use data_io::{BuildTokenizer, Corpus};
use tensor_core::rng::{Stream, stream, uniform};

const TEXTS: [(&str, &str); 3] = [
    ("ASCII", "To |be, |or |not |to |be: |that |is |the |question.\n"),
    ("Cyrillic", "Мой |дядя |самых |честных |правил, |когда |не |в |шутку |занемог.\n"),
    ("Chinese", "却|说那|女娲氏|炼石补天|之时，|于|大荒山|无稽崖|炼成|高十二丈。\n"),
];

/// 32 MiB of the words in random order, since a text that repeats itself is learned by a CPU too.
fn text(words: &str) -> String {
    let words: Vec<_> = words.split('|').collect();
    let (mut rng, mut text) = (stream(0, Stream::Data), String::new());
    while text.len() < 32 << 20 {
        text.push_str(words[(uniform(&mut rng) * words.len() as f64) as usize]);
    }
    text
}

fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("index 32 MiB");
    group.sample_size(10);
    for (name, words) in TEXTS {
        let corpus = Corpus::from(text(words));
        let bytes = corpus.text().expect("made").len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |b| {
            let index = |corpus: Corpus| {
                let tokenizer = Char {}.fit(&corpus).expect("made");
                corpus.encode(tokenizer).expect("its own text")
            };
            b.iter_batched(|| corpus.clone(), index, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
