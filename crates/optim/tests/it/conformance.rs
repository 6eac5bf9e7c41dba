//! What every registered optimizer, schedule and transform has to do. A new part is covered by its
//! line in the registry; a setting that takes another path through one joins a list of variants.

use optim::{
    BuildOptimizer, BuildSchedule, BuildTransform, Optimizer, Schedule, Transform, Update, Verdict,
    WarmUp, builtin_optimizers, builtin_schedules, builtin_transforms,
};
use registry::{Chosen, ConfigError, Document, Key, Registry};
use tensor_core::pool::Pool;
use tensor_core::{Layout, Real, Shape};

/// A number type that parts are built for.
trait Float: Real {
    fn optimizer(part: &dyn BuildOptimizer, layout: &Layout) -> Box<dyn Optimizer<Self>>;
    fn transform(part: &dyn BuildTransform, layout: &Layout, seed: u64)
    -> Box<dyn Transform<Self>>;
}

macro_rules! float {
    ($float:ident) => {
        impl Float for $float {
            fn optimizer(part: &dyn BuildOptimizer, layout: &Layout) -> Box<dyn Optimizer<Self>> {
                part.$float(layout)
            }
            fn transform(
                part: &dyn BuildTransform,
                layout: &Layout,
                seed: u64,
            ) -> Box<dyn Transform<Self>> {
                part.$float(layout, seed)
            }
        }
    };
}

float!(f32);
float!(f64);

const OPTIMIZER_VARIANTS: [&str; 8] = [
    "kind = 'sgd', momentum = 0.9",
    "kind = 'sgd', momentum = 0.9, nesterov = true",
    "kind = 'adagrad', eps_inside_root = false",
    "kind = 'rmsprop', momentum = 0.9",
    "kind = 'rmsprop', momentum = 0.5, centered = true",
    "kind = 'nadam', momentum_decay = 0.1",
    "kind = 'radam', betas = [0.9, 0.9]",
    "kind = 'muon', nesterov = false, adjust_lr_fn = 'original'",
];

const SCHEDULE_VARIANTS: [&str; 8] = [
    "kind = 'step', step_size = 3, gamma = 0.5",
    "kind = 'step', step_size = 1, gamma = 0",
    "kind = 'linear', end_factor = 0.1, steps = 1",
    "kind = 'cosine', min_factor = 0.1, steps = 1",
    "kind = 'one_cycle', pct_start = 0",
    "kind = 'one_cycle', pct_start = 0.99",
    "kind = 'warmup_stable_decay', decay_share = 1",
    "kind = 'plateau', factor = 0.5, patience = 1, cooldown = 1, threshold = 0.1",
];

const TRANSFORM_VARIANTS: [&str; 4] = [
    "kind = 'clip_value', limit = 1e-3",
    "kind = 'clip_norm', limit = 1e-3",
    "kind = 'adaptive_clip', clipping = 10",
    "kind = 'noise', eta = 1, gamma = 0",
];

/// A part by the keys of its section, with its errors as a person would see them.
fn choose<D: ?Sized + 'static>(
    registry: &Registry<D>,
    document: &Document,
) -> Result<Chosen<D>, ConfigError> {
    registry.choose(document.parse()?.part("part", "none")?)
}

fn document(keys: &str) -> Document {
    Document::new("keys", format!("part = {{ {keys} }}"), [""; 0])
}

/// Every part with its default keys, and the variants; each with the keys it came from.
fn parts<D: ?Sized + 'static>(
    registry: &Registry<D>,
    variants: &[&str],
) -> Vec<(String, Chosen<D>)> {
    let defaults = registry.entries().iter().map(|entry| format!("kind = '{}'", entry.name));
    defaults
        .chain(variants.iter().map(ToString::to_string))
        .map(|keys| {
            let part = choose(registry, &document(&keys));
            let part = part.unwrap_or_else(|error| panic!("{keys}: {error}"));
            (keys, part)
        })
        .collect()
}

fn optimizers() -> Vec<(String, Chosen<dyn BuildOptimizer>)> {
    parts(&builtin_optimizers(), &OPTIMIZER_VARIANTS)
}

fn schedules() -> Vec<(String, Chosen<dyn BuildSchedule>)> {
    parts(&builtin_schedules(), &SCHEDULE_VARIANTS)
}

fn transforms() -> Vec<(String, Chosen<dyn BuildTransform>)> {
    parts(&builtin_transforms(), &TRANSFORM_VARIANTS)
}

/// A wide matrix, a tall one and biases, all of different sizes.
fn layout() -> Layout {
    let mut layout = Layout::default();
    layout.push(Some(0), [("w_xh", Shape::Matrix(4, 3)), ("b_h", Shape::Vector(3))]);
    layout.push(None, [("w_hy", Shape::Matrix(3, 7)), ("b_y", Shape::Vector(7))]);
    layout
}

/// Numbers near 1 in size that `f32` holds exactly, so that both types start from the same.
fn numbers<T: Float>(seed: u64) -> Vec<T> {
    (0..layout().len() as u64)
        .map(|i| {
            let mixed = (i * 2_654_435_761 + seed * 40_503 + 12_345) % 1009;
            T::from_f64(mixed as f64 / 256.0 - 2.0)
        })
        .collect()
}

fn to_f64<T: Float>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    let difference = |(a, b): (&f64, &f64)| (a - b).abs();
    // `max` would pass over a NaN.
    a.iter().zip(b).map(difference).fold(0.0, |max, d| if max < d || d.is_nan() { d } else { max })
}

/// `Σ λ·r² / 2` with λ from 1 to 100, where `r` is `p` mirrored at a plane, so that no coordinate is
/// a direction of its own. Overwrites `grads`.
fn quadratic<T: Float>(params: &[T], grads: &mut [T]) -> f64 {
    let len = params.len();
    let normal = |i: usize| ((i % 3) as f64 + 1.0) * if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    let square: f64 = (0..len).map(|i| normal(i) * normal(i)).sum();
    let mirror = |values: &[f64]| -> Vec<f64> {
        let along: f64 = (0..len).map(|i| normal(i) * values[i]).sum();
        (0..len).map(|i| values[i] - 2.0 * normal(i) * along / square).collect()
    };
    let lambda = |i: usize| 100.0_f64.powf((i * 7 % len) as f64 / (len - 1) as f64);
    let r = mirror(&to_f64(params));
    let scaled: Vec<f64> = (0..len).map(|i| lambda(i) * r[i]).collect();
    for (g, exact) in grads.iter_mut().zip(mirror(&scaled)) {
        *g = T::from_f64(exact);
    }
    r.iter().zip(&scaled).map(|(r, scaled)| r * scaled / 2.0).sum()
}

/// What is left of the quadratic after 1000 steps, as a share, with the best of four learning rates.
fn share_left<T: Float>(part: &dyn BuildOptimizer) -> f64 {
    let run = |learning_rate| {
        let mut optimizer = T::optimizer(part, &layout());
        let mut params = numbers::<T>(1);
        let mut grads = params.clone();
        let start = quadratic(&params, &mut grads);
        for step in 1..=1000 {
            update(&mut *optimizer, step, learning_rate, &mut params, &grads);
            quadratic(&params, &mut grads);
        }
        quadratic(&params, &mut grads) / start
    };
    [1.0, 0.1, 0.01, 0.001].map(run).into_iter().fold(f64::INFINITY, f64::min)
}

#[test]
fn every_optimizer_shrinks_an_ill_conditioned_quadratic() {
    for (keys, part) in optimizers() {
        let shares = [share_left::<f32>(&*part), share_left::<f64>(&*part)];
        println!("{keys:60} {:.1e} {:.1e}", shares[0], shares[1]);
        assert!(shares.iter().all(|share| *share < 0.01), "{keys}: {shares:?} is left");
    }
}

fn repeats_itself<T: Float>(keys: &str, part: &dyn BuildOptimizer) {
    const RESTART_AT: u64 = 7;
    let mut whole = T::optimizer(part, &layout());
    let mut resumed = T::optimizer(part, &layout());
    let mut params = numbers::<T>(0);
    for step in 1..=RESTART_AT {
        update(&mut *whole, step, 0.01, &mut params, &numbers(step));
    }
    let mut resumed_params = params.clone();
    for ((name, to), (saved_name, from)) in resumed.state().into_iter().zip(whole.state()) {
        assert_eq!(name, saved_name);
        assert!(!from.is_empty() && to.len() == from.len(), "{keys}, {name}");
        to.copy_from_slice(from);
    }
    for step in RESTART_AT + 1..=2 * RESTART_AT {
        update(&mut *whole, step, 0.01, &mut params, &numbers(step));
        update(&mut *resumed, step, 0.01, &mut resumed_params, &numbers(step));
        let bits = |values: &[T]| to_f64(values).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&params), bits(&resumed_params), "{keys}, step {step}");
    }
}

#[test]
fn every_optimizer_goes_on_to_the_bit_from_its_state() {
    for (keys, part) in optimizers() {
        repeats_itself::<f32>(&keys, &*part);
        repeats_itself::<f64>(&keys, &*part);
    }
}

/// Parameters after each of twenty steps by given gradients.
fn trajectory<T: Float>(part: &dyn BuildOptimizer) -> Vec<f64> {
    let mut optimizer = T::optimizer(part, &layout());
    let mut params = numbers::<T>(0);
    let mut all = Vec::new();
    for step in 1..=20 {
        update(&mut *optimizer, step, 0.01, &mut params, &numbers(step));
        all.extend(to_f64(&params));
    }
    all
}

#[test]
fn every_optimizer_computes_the_same_in_f32_and_f64() {
    for (keys, part) in optimizers() {
        let worst = largest_difference(&trajectory::<f32>(&*part), &trajectory::<f64>(&*part));
        println!("{keys:60} {worst:.1e}");
        // Parameters below 4 are rounded by up to 2⁻²³ in each of twenty steps.
        assert!(worst <= 20.0 * f64::from(f32::EPSILON), "{keys}: {worst:e}");
    }
}

#[test]
fn every_optimizer_gives_the_same_bits_with_any_pool() {
    for (keys, part) in optimizers() {
        let params_after = |threads| {
            let mut pool = Pool::new(threads);
            let mut optimizer = f32::optimizer(&*part, &layout());
            let mut params = numbers::<f32>(0);
            for step in 1..=5 {
                optimizer.update(Update {
                    step,
                    learning_rate: 0.01,
                    params: &mut params,
                    grads: &numbers(step),
                    pool: &mut pool,
                });
            }
            params
        };
        let mut alone = f32::optimizer(&*part, &layout());
        let mut params = numbers::<f32>(0);
        for step in 1..=5 {
            update(&mut *alone, step, 0.01, &mut params, &numbers(step));
        }
        assert_eq!(params_after(1), params, "{keys}");
        assert_eq!(params_after(3), params, "{keys}");
    }
}

fn stays_put<T: Float>(keys: &str, part: &dyn BuildOptimizer) {
    let mut optimizer = T::optimizer(part, &layout());
    let mut params = numbers::<T>(0);
    let zeros = vec![T::ZERO; params.len()];
    for step in 1..=10 {
        update(&mut *optimizer, step, 0.1, &mut params, &zeros);
    }
    assert_eq!(params, numbers::<T>(0), "{keys}");

    // What averages remember runs out, down to numbers that round to zero.
    update(&mut *optimizer, 11, 0.1, &mut params, &numbers(1));
    for step in 12..=3000 {
        update(&mut *optimizer, step, 0.1, &mut params, &zeros);
        assert!(params.iter().all(|p| p.is_finite()), "{keys}, step {step}");
    }
}

#[test]
fn a_zero_gradient_moves_nothing_and_gives_no_nan() {
    for (keys, _) in optimizers() {
        let keys = format!("{keys}, weight_decay = 0");
        let part = choose(&builtin_optimizers(), &document(&keys)).expect("a decay of zero");
        stays_put::<f32>(&keys, &*part);
        stays_put::<f64>(&keys, &*part);
    }
}

#[test]
fn no_optimizer_hides_a_nan() {
    for (keys, part) in optimizers() {
        let mut params = numbers::<f32>(0);
        let mut grads = numbers::<f32>(1);
        grads[1] = f32::NAN;
        update(&mut *f32::optimizer(&*part, &layout()), 1, 0.1, &mut params, &grads);
        assert!(params[1].is_nan(), "{keys}");
    }
}

/// One step by one thread.
fn update<T: Real>(
    optimizer: &mut dyn Optimizer<T>,
    step: u64,
    learning_rate: f64,
    params: &mut [T],
    grads: &[T],
) {
    let pool = &mut Pool::default();
    optimizer.update(Update { step, learning_rate, params, grads, pool });
}

fn optimizer_allocations<T: Float>(part: &dyn BuildOptimizer) -> u64 {
    let mut optimizer = T::optimizer(part, &layout());
    let (mut params, grads) = (numbers::<T>(0), numbers::<T>(1));
    // The first step makes room for matrices laid out as products want them.
    update(&mut *optimizer, 1, 0.01, &mut params, &grads);
    let info = allocation_counter::measure(|| {
        for step in 2..=8 {
            update(&mut *optimizer, step, 0.01, &mut params, &grads);
        }
    });
    info.count_total
}

#[test]
fn no_optimizer_allocates_in_a_step() {
    for (keys, part) in optimizers() {
        assert_eq!(optimizer_allocations::<f32>(&*part), 0, "{keys} in f32");
        assert_eq!(optimizer_allocations::<f64>(&*part), 0, "{keys} in f64");
    }
}

const RUN_LENGTHS: [u64; 6] = [1, 2, 3, 10, 97, 1000];
const WARM_UPS: [u64; 4] = [0, 1, 3, 10];

#[test]
fn every_schedule_is_finite_and_never_negative() {
    for (keys, part) in schedules() {
        for (steps, warmup) in RUN_LENGTHS.iter().flat_map(|s| WARM_UPS.map(|w| (*s, w))) {
            let schedule = WarmUp::new(warmup, part.build());
            for step in 1..=steps {
                let factor = schedule.factor(step, steps);
                // The learning rate in a config is the greatest: no schedule goes beyond it.
                let is_fine = (0.0..=1.0).contains(&factor);
                assert!(is_fine, "{keys}, warmup {warmup}, step {step} of {steps}: {factor}");
            }
        }
    }
}

#[test]
fn every_schedule_starts_small_behind_a_warm_up_and_is_itself_after_it() {
    for (keys, part) in schedules() {
        let (inner, warm) = (part.build(), WarmUp::new(10, part.build()));
        let first = inner.factor(1, 90);
        for step in 1..=10 {
            let expected = step as f64 / 10.0 * first;
            assert_eq!(warm.factor(step, 100), expected, "{keys}, step {step}");
        }
        for step in 11..=100 {
            assert_eq!(warm.factor(step, 100), inner.factor(step - 10, 90), "{keys}, step {step}");
        }
    }
}

#[test]
fn every_schedule_goes_on_from_its_state() {
    let losses = |step: u64| 3.0 + (step as f64 * 0.7).sin() / step as f64;
    for (keys, part) in schedules() {
        for restart_at in [0, 1, 5, 9] {
            let (mut whole, mut resumed) = (part.build(), part.build());
            (1..=restart_at).for_each(|step| whole.observe(losses(step)));
            for ((name, to), (saved_name, from)) in resumed.state().into_iter().zip(whole.state()) {
                assert_eq!(name, saved_name);
                assert!(from.is_finite(), "{keys}, {name}: a checkpoint holds finite numbers only");
                *to = *from;
            }
            for step in restart_at + 1..=30 {
                assert_eq!(whole.factor(step, 30), resumed.factor(step, 30), "{keys}, {step}");
                whole.observe(losses(step));
                resumed.observe(losses(step));
            }
        }
    }
}

#[test]
fn a_schedule_remembers_something_exactly_if_it_needs_a_validation_loss() {
    for (keys, part) in schedules() {
        for mut schedule in [part.build(), Box::new(WarmUp::new(3, part.build()))] {
            let remembers = !schedule.state().is_empty();
            assert_eq!(schedule.needs_validation(), remembers, "{keys}");
        }
    }
}

#[test]
fn every_schedule_with_its_defaults_fits_any_run() {
    for entry in builtin_schedules().entries() {
        let keys = format!("kind = '{}'", entry.name);
        let part = choose(&builtin_schedules(), &document(&keys)).expect("the defaults");
        assert_eq!(part.build().check_length(1), Ok(()), "{keys}");
    }
}

#[test]
fn a_length_beyond_the_run_is_refused_by_the_name_of_its_key() {
    let check = |keys, key| {
        let part = choose(&builtin_schedules(), &document(keys)).expect("keys in range");
        let schedule = WarmUp::new(3, part.build());
        assert_eq!(schedule.check_length(13), Ok(()), "{keys}");
        let conflict = schedule.check_length(12).expect_err(keys);
        assert_eq!(conflict.key, key);
        assert!(conflict.message.contains("10 steps") && !conflict.help.is_empty(), "{conflict:?}");
        assert_eq!(schedule.check_length(2).expect_err(keys).key, "warmup");
    };
    check("kind = 'linear', steps = 10", "steps");
    check("kind = 'cosine', steps = 10", "steps");
    check("kind = 'warmup_stable_decay', decay_steps = 10", "decay_steps");
}

fn applied<T: Float>(
    transform: &mut dyn Transform<T>,
    step: u64,
    grads: &[T],
) -> (Vec<f64>, Verdict) {
    let mut grads = grads.to_vec();
    let verdict = transform.apply(step, &numbers(0), &mut grads);
    (to_f64(&grads), verdict)
}

#[test]
fn every_transform_leaves_a_zero_gradient_finite() {
    for (keys, part) in transforms() {
        let mut transform = f32::transform(&*part, &layout(), 42);
        let (grads, verdict) = applied(&mut *transform, 1, &vec![0.0; layout().len()]);
        assert_eq!(verdict, Verdict::Step, "{keys}");
        assert!(grads.iter().all(|g| g.is_finite()), "{keys}");
    }
}

fn depends_on_its_arguments_alone<T: Float>(keys: &str, part: &dyn BuildTransform) {
    let mut used = T::transform(part, &layout(), 42);
    for step in 1..=9 {
        let grads = numbers(step);
        let mut fresh = T::transform(part, &layout(), 42);
        let expected = applied(&mut *fresh, step, &grads);
        assert_eq!(applied(&mut *used, step, &grads), expected, "{keys}, step {step}");
        assert_eq!(applied(&mut *used, step, &grads), expected, "{keys}, step {step} again");
    }
    assert!(used.state().is_empty(), "{keys} has nothing to save");
}

#[test]
fn every_transform_depends_on_its_arguments_alone() {
    for (keys, part) in transforms() {
        depends_on_its_arguments_alone::<f32>(&keys, &*part);
        depends_on_its_arguments_alone::<f64>(&keys, &*part);
    }
}

#[test]
fn every_transform_computes_the_same_in_f32_and_f64() {
    for (keys, part) in transforms() {
        let single = applied(&mut *f32::transform(&*part, &layout(), 42), 3, &numbers(1));
        let double = applied(&mut *f64::transform(&*part, &layout(), 42), 3, &numbers(1));
        let worst = largest_difference(&single.0, &double.0);
        // A gradient below 4 is rounded twice.
        assert!(worst <= 4.0 * f64::from(f32::EPSILON), "{keys}: {worst:e}");
        assert_eq!(single.1, double.1, "{keys}");
    }
}

#[test]
fn no_transform_hides_a_nan() {
    for (keys, part) in transforms() {
        let mut grads = numbers::<f32>(1);
        grads[1] = f32::NAN;
        let (grads, verdict) = applied(&mut *f32::transform(&*part, &layout(), 42), 1, &grads);
        assert!(grads[1].is_nan() || verdict == Verdict::Skip, "{keys}");
    }
}

#[test]
fn the_seed_decides_what_is_drawn() {
    let keys = "kind = 'noise'";
    let part = choose(&builtin_transforms(), &document(keys)).expect("the defaults");
    let draw = |seed, step| {
        applied(&mut *f64::transform(&*part, &layout(), seed), step, &vec![0.0; layout().len()]).0
    };
    assert_eq!(draw(1, 1), draw(1, 1));
    assert_ne!(draw(1, 1), draw(2, 1));
    let fading = 2.0_f64.powf(-0.55 / 2.0);
    let first_scaled: Vec<_> = draw(1, 1).iter().map(|g| g * fading).collect();
    assert!(1e-2 < largest_difference(&draw(1, 2), &first_scaled), "each step has its own numbers");
}

fn transform_allocations<T: Float>(part: &dyn BuildTransform) -> u64 {
    let mut transform = T::transform(part, &layout(), 42);
    let (params, mut grads) = (numbers::<T>(0), numbers::<T>(1));
    let info = allocation_counter::measure(|| {
        for step in 1..=8 {
            _ = transform.apply(step, &params, &mut grads);
        }
    });
    info.count_total
}

#[test]
fn no_transform_allocates() {
    for (keys, part) in transforms() {
        assert_eq!(transform_allocations::<f32>(&*part), 0, "{keys} in f32");
        assert_eq!(transform_allocations::<f64>(&*part), 0, "{keys} in f64");
    }
}

fn defaults_survive<D: ?Sized + 'static>(registry: &Registry<D>) {
    for entry in registry.entries() {
        let keys = format!("kind = '{}'", entry.name);
        let part = choose(registry, &document(&keys)).expect("the defaults");
        assert_eq!(part.keys.len(), entry.keys().len(), "{keys}");
        let text = format!("[part]\n{}", part.to_table());
        let again = choose(registry, &Document::new("written", text, [""; 0]));
        let again = again.unwrap_or_else(|error| panic!("{keys}: {error}"));
        assert_eq!((again.name, &again.keys), (part.name, &part.keys));
    }
}

#[test]
fn default_keys_survive_being_written_and_read() {
    defaults_survive(&builtin_optimizers());
    defaults_survive(&builtin_schedules());
    defaults_survive(&builtin_transforms());
}

/// Values that a key's range, as `cli list` shows it, leaves out; none for a switch.
fn values_out_of_range(key: &Key) -> Vec<String> {
    let default = key.default_text().expect("every key has a default");
    if ["true", "false"].contains(&&*default) {
        return Vec::new();
    }
    if !key.words.is_empty() {
        return vec!["'nonsense'".into()];
    }
    let number = |word: &str| match word.strip_prefix("10^") {
        Some(power) => 10_i64.pow(power.parse().expect("a power of ten")),
        None => word.parse().expect("a whole number"),
    };
    let bounds: Vec<_> = key.range.split_whitespace().collect();
    let mut values = match bounds[..] {
        [">", low] => vec![number(low), number(low) - 1],
        ["≥", low] => vec![number(low) - 1],
        [low, "≤", "…", "<", high] => vec![number(low) - 1, number(high)],
        [low, "≤", "…", "≤", high] => vec![number(low) - 1, number(high) + 1],
        _ => panic!("`{}` is no switch and has the range {:?}", key.name, key.range),
    };
    values.dedup();
    let values = values.iter().map(ToString::to_string);
    // No number is both whole and NaN or infinite.
    let is_real = default.contains('.') || default.contains('e');
    let values = values.chain(["nan", "inf"].map(String::from).into_iter().filter(|_| is_real));
    match default.starts_with('[') {
        true => values.map(|value| format!("[0.5, {value}]")).collect(),
        false => values.collect(),
    }
}

/// Returns how many values were refused.
fn values_are_refused<D: ?Sized + 'static>(registry: &Registry<D>) -> usize {
    let mut refused = 0;
    for entry in registry.entries() {
        for key in entry.keys() {
            for value in values_out_of_range(&key) {
                let keys = format!("kind = '{}', {} = {value}", entry.name, key.name);
                let document = document(&keys);
                let Err(error) = choose(registry, &document) else { panic!("{keys} is taken") };
                let path = format!("`part.{}` ", key.name);
                assert!(error.message.starts_with(&path), "{keys}: {error}");
                let place = document.place(error.span.as_ref().expect("a span"));
                assert_eq!(place.text[place.marked], value, "{keys}");
                refused += 1;
            }
        }
    }
    refused
}

#[test]
fn a_value_out_of_range_is_refused_and_marked() {
    let refused = values_are_refused(&builtin_optimizers());
    assert!(60 <= refused, "{refused} values for the keys of the optimizers");
    let refused = values_are_refused(&builtin_schedules());
    assert!(30 <= refused, "{refused} values for the keys of the schedules");
    let refused = values_are_refused(&builtin_transforms());
    assert!(12 <= refused, "{refused} values for the keys of the transforms");
}
