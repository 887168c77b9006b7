//! See `lib.rs`.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use micro::{GRAIN, Operation, Side};

fn operations(criterion: &mut Criterion) {
    for operation in Operation::all().into_iter().filter(|it| it.is_timed) {
        let mut group = criterion.benchmark_group(&operation.id);
        group.throughput(match operation.bytes {
            Some(bytes) => Throughput::ElementsAndBytes {
                elements: GRAIN,
                bytes: GRAIN * bytes as u64,
            },
            None => Throughput::Elements(GRAIN),
        });
        for side in Side::ALL {
            if let Some(mut run) = operation.runner(side) {
                group.bench_function(side.name(), |bencher| bencher.iter(|| run(GRAIN)));
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = operations
}
criterion_main!(benches);
