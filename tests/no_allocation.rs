//! Training allocates when it starts, then never again.

use experiment::{Dtype, Family, Parts, Trainer};
use integration_tests::prepare;

fn allocations<T: Dtype>(overrides: &[&str]) -> u64 {
    let experiment = prepare("configs/karpathy.toml", overrides);
    let mut trainer = Trainer::<T>::new(&experiment);
    // The first window makes room for weights laid out as products want them.
    trainer.step().expect("finite");
    // 70 steps of 25 characters pass the end of the text, where the lanes go back to their start.
    let info = allocation_counter::measure(|| {
        for _ in 0..70 {
            trainer.step().expect("finite");
        }
    });
    info.count_total
}

#[track_caller]
fn check(overrides: &[&str]) {
    assert_eq!(allocations::<f32>(overrides), 0, "f32 {overrides:?}");
    assert_eq!(allocations::<f64>(overrides), 0, "f64 {overrides:?}");
}

#[test]
fn a_step_allocates_nothing() {
    check(&[]);
    check(&["train.batch_size=3", "model.layers=2", "train.loss=mean"]);
    check(&["transform=[{ kind = \"clip_norm\", limit = 0.1 }, { kind = \"clip_value\" }]"]);
}

#[test]
fn a_step_allocates_nothing_whatever_part_is_named() {
    let parts = Parts::builtin();
    for Family { name: family, key, parts, .. } in parts.families() {
        // A file's weights have to come from somewhere, and a text needs a path that others have not.
        let is_tried = |name: &str| name != "file" && key != "data.kind" && name != "plateau";
        for part in parts.iter().filter(|part| is_tried(part.name)) {
            let choice = match family.as_str() {
                "transforms" => format!("transform=[{{ kind = \"{}\" }}]", part.name),
                _ => format!("{key}={}", part.name),
            };
            check(&[&choice, "optimizer.learning_rate=0.001"]);
        }
    }
}

#[test]
fn the_counter_sees_an_allocation() {
    let info = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 9])));
    assert_eq!(info.count_total, 1);
}
