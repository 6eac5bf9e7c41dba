//! A generator, which reads one character at a time, against a model that reads all in one window.

use rnn_model::gradcheck::{Case, Resets, Variant, cases, variants};
use rnn_model::{Generator, LayerOptions, Sampler, Scratch, Window, builtin_cells};
use tensor_core::rng::{Stream, stream};

const TEXT: [u32; 12] = [3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 0, 6];
/// The most probable character.
const GREEDY: Sampler = Sampler { temperature: 0.0, top_k: None, top_p: 1.0, min_p: 0.0 };

/// What `generator` says after each character of `text`.
fn said(generator: &mut Generator<f64>, theta: &[f64], text: &[u32]) -> Vec<u32> {
    let mut rng = stream(0, Stream::Sample);
    let mut say = |id: &u32| {
        generator.feed(theta, *id);
        generator.draw(&GREEDY, &mut rng)
    };
    text.iter().map(&mut say).collect()
}

#[test]
fn it_says_after_each_character_what_a_window_does() {
    let options = LayerOptions { learned_state: true, ..LayerOptions::default() };
    let (layers, seq_len) = (2, TEXT.len());
    for Variant { name, cell } in variants(&builtin_cells()) {
        let whole = Case { options, layers, seq_len, steps: seq_len, ..cases()[0] };
        let mut model = whole.model(|dims, options| cell.f64(dims, options));
        let theta = Case { resets: Resets::First, ..whole }.point(&mut model).theta;
        let resets = TEXT.iter().enumerate().map(|(step, _)| step == 0).collect::<Vec<_>>();
        let state = model.zero_state();
        model.forward(&theta, Window { x: &TEXT, resets: &resets }, &state);
        let (mut rng, mut scratch) = (stream(0, Stream::Sample), Scratch::default());
        let logits = model.logits();
        let rows = logits.rows().into_iter().map(|row| row.to_vec());
        let expected: Vec<_> =
            rows.map(|logits| GREEDY.draw(&logits, &mut rng, &mut scratch)).collect();

        let single = Case { seq_len: 1, steps: 1, ..whole };
        let mut generator = Generator::new(single.model(|dims, options| cell.f64(dims, options)));
        generator.prepare(&theta);
        assert_eq!(said(&mut generator, &theta, &TEXT), expected, "{name}");
        generator.restart();
        assert_eq!(said(&mut generator, &theta, &TEXT), expected, "{name}, from the start");

        let (first, rest) = TEXT.split_at(5);
        let mut state = state;
        model.forward(&theta, Window { x: first, resets: &resets[..5] }, &state.clone());
        model.carry(&mut state);
        generator.set_state(&state);
        assert_eq!(said(&mut generator, &theta, rest), expected[5..], "{name}, from a state");
    }
}

/// A model that was trained on documents never saw what comes after a document.
#[test]
fn what_comes_before_a_separator_counts_for_nothing() {
    const DOCUMENT: [u32; 5] = [5, 3, 2, 6, 1];
    for separator in [vec![5], vec![5, 3]] {
        for Variant { name, cell } in variants(&builtin_cells()) {
            let single = Case { layers: 2, seq_len: 1, steps: 1, ..cases()[0] };
            let mut model = single.model(|dims, options| cell.f64(dims, options));
            let theta = single.point(&mut model).theta;
            let mut generator = Generator::new(model).separated_by(separator.clone());
            generator.prepare(&theta);
            let alone = said(&mut generator, &theta, &DOCUMENT);
            for before in [&[3, 1, 4, 1][..], &[5, 2, 2, 6], &DOCUMENT, &[]] {
                generator.restart();
                said(&mut generator, &theta, before);
                let behind = said(&mut generator, &theta, &DOCUMENT);
                let whole = separator.len() - 1;
                assert_eq!(behind[whole..], alone[whole..], "{name}, after {before:?}");
            }
        }
    }
}

#[test]
fn what_is_banned_is_never_drawn() {
    let single = Case { seq_len: 1, steps: 1, ..cases()[0] };
    let cells = variants(&builtin_cells());
    let mut model = single.model(|dims, options| cells[0].cell.f64(dims, options));
    let (theta, vocab_size) = (single.point(&mut model).theta, model.vocab_size());
    let mut generator = Generator::new(model);
    generator.prepare(&theta);
    generator.feed(&theta, 1);
    let mut rng = stream(0, Stream::Sample);
    let mut banned = Vec::new();
    while let Some(id) = generator.draw_without(&banned, &GREEDY, &mut rng) {
        assert!(!banned.contains(&id));
        banned.push(id);
    }
    assert_eq!(banned[0], generator.draw(&GREEDY, &mut rng));
    assert_eq!(banned.len(), vocab_size);
}
