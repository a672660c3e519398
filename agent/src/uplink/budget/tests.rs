use super::*;
use proptest::prelude::*;

const TICK: Duration = PLAN_EVERY;
const LIMIT: f64 = 1000.0;

fn demands(of: &[f64]) -> Demands {
    of.iter().enumerate().map(|(n, d)| (format!("c{n:02}").into(), *d)).collect()
}

fn on_air(budget: &Budget, demands: &Demands) -> Vec<usize> {
    demands.keys().enumerate().filter(|(_, id)| budget.is_on_air(id)).map(|(n, _)| n).collect()
}

/// Share of time on air of each over `seconds`, after a warm-up, and the mean rate on air.
fn over(of: &[f64], seconds: u64) -> (Vec<f64>, f64) {
    let (mut budget, demands) = (Budget::new(LIMIT), demands(of));
    let mut air = vec![0u32; of.len()];
    let ticks = seconds as u32 * 2;
    for tick in 0..ticks + 4 {
        budget.plan(&demands, 0.0, TICK * tick);
        if tick >= 4 {
            for n in on_air(&budget, &demands) {
                air[n] += 1;
            }
        }
    }
    let air: Vec<f64> = air.into_iter().map(|n| f64::from(n) / f64::from(ticks)).collect();
    let mean = air.iter().zip(of).map(|(share, demand)| share * demand).sum();
    (air, mean)
}

#[test]
fn shares_are_max_min_fair() {
    for (of, expect) in [
        (&[][..], f64::INFINITY),
        (&[500.0, 500.0], f64::INFINITY),
        (&[100.0, 2000.0], 900.0),
        (&[600.0, 600.0], 500.0),
        (&[10.0, 600.0, 700.0], 495.0),
        (&[1e9], 1000.0),
    ] {
        let share = fair_share(of.iter().copied(), LIMIT);
        assert!((share - expect).abs() < 1e-9 || (share.is_infinite() && expect.is_infinite()), "{of:?}: {share}");
    }
}

#[test]
fn the_quiet_are_whole_and_the_loud_take_turns() {
    let (air, sum) = over(&[10.0, 50.0, 600.0, 600.0, 600.0], 300);
    assert!(air[0] >= 1.0 && air[1] >= 1.0, "{air:?}");
    for share in &air[2..] {
        assert!((share - 1.0 / 3.0).abs() < 0.02, "{air:?}");
    }
    assert!(sum <= LIMIT);
    // Two fit at once.
    let (air, sum) = over(&[300.0, 300.0, 300.0, 300.0], 400);
    assert!(air.iter().all(|share| *share > 0.65), "{air:?}");
    assert!(sum <= LIMIT && sum > 0.8 * LIMIT, "{sum}");
}

#[test]
fn one_that_is_over_the_budget_alone_is_silent_for_a_part() {
    for demand in [1500.0, 5000.0, 30_000.0] {
        let (air, sum) = over(&[10.0, demand], 600);
        assert!(air[0] >= 1.0, "{air:?}");
        assert!(sum <= LIMIT * 1.1 && sum > LIMIT * 0.6, "{demand}: {sum}");
    }
}

#[test]
fn a_short_burst_is_nobodys_loss_and_the_end_of_a_long_one_is_seen_at_once() {
    let (mut budget, busy, calm) = (Budget::new(LIMIT), demands(&[5000.0, 5000.0]), demands(&[100.0, 100.0]));
    assert_eq!(budget.plan(&busy, 0.0, Duration::ZERO), []);
    assert_eq!(budget.plan(&calm, 0.0, TICK), []);
    assert_eq!(budget.plan(&busy, 0.0, 2 * TICK), []);
    assert_eq!(on_air(&budget, &busy), [0, 1]);
    let told = budget.plan(&busy, 0.0, 4 * TICK);
    assert_eq!(told.len(), 2);
    assert_eq!(on_air(&budget, &busy).len(), 1);
    let told = budget.plan(&calm, 0.0, 5 * TICK);
    assert_eq!(told, [("c00".into(), 1.0), ("c01".into(), 1.0)]);
    assert_eq!((on_air(&budget, &calm), budget.sampled().len()), (vec![0, 1], 0));
}

#[test]
fn what_is_sent_in_any_case_takes_of_the_budget() {
    let mut budget = Budget::new(LIMIT);
    let both = demands(&[400.0, 400.0]);
    for tick in 0..4 {
        budget.plan(&both, 500.0, TICK * tick);
    }
    assert_eq!(on_air(&budget, &both).len(), 1);
}

#[test]
fn what_is_announced_is_what_happens() {
    let of = [10.0, 700.0, 300.0, 450.0, 3000.0];
    let (mut budget, demands) = (Budget::new(LIMIT), demands(&of));
    for tick in 0..3 {
        budget.plan(&demands, 0.0, TICK * tick);
    }
    let told: Vec<f64> = demands.keys().map(|id| budget.sampled().get(id).copied().unwrap_or(1.0)).collect();
    let (air, _) = over(&of, 1200);
    for (n, (told, is)) in told.iter().zip(&air).enumerate() {
        assert!((told - is).abs() < 0.06, "c{n}: told {told}, is {is}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever containers do, what is on air fits, or is one loud container beside quiet ones.
    #[test]
    fn what_is_on_air_fits(steps in prop::collection::vec(prop::collection::vec(0.0..2500.0f64, 1..12), 1..40), fixed in 0.0..300.0f64) {
        let mut budget = Budget::new(LIMIT);
        let mut now = Duration::ZERO;
        for of in steps {
            let demands = demands(&of);
            for _ in 0..5 {
                budget.plan(&demands, fixed, now);
                now += TICK;
            }
            let limit = LIMIT - fixed;
            let share = fair_share(of.iter().copied(), TARGET * limit);
            let air = on_air(&budget, &demands);
            let sum: f64 = air.iter().map(|n| of[*n]).sum();
            let loud = air.iter().filter(|n| budget.sampled().contains_key(format!("c{n:02}").as_str())).count();
            prop_assert!(sum <= limit + 1e-6 || loud <= 1, "{of:?}: {air:?}");
            for (n, demand) in of.iter().enumerate() {
                prop_assert!(*demand > QUIETER * share || air.contains(&n), "c{n} of {of:?} is quiet and not whole");
            }
            for share in budget.sampled().values() {
                prop_assert!(*share > 0.0 && *share < 1.0);
            }
        }
        // Load falls: all are whole again at once.
        let calm = demands(&[1.0; 12]);
        budget.plan(&calm, fixed, now);
        prop_assert_eq!(on_air(&budget, &calm).len(), 12);
        prop_assert!(budget.sampled().is_empty());
    }

    /// Each is on air within as many turns as there are loud containers, and the mean is within the budget.
    #[test]
    fn nobody_starves(of in prop::collection::vec(0.0..20_000.0f64, 1..10)) {
        let (mut budget, demands) = (Budget::new(LIMIT), demands(&of));
        let mut silent = vec![Duration::ZERO; of.len()];
        let longest = TURN_MAX * of.len() as u32;
        let (mut sum, mut ticks) = (0.0, 0.0);
        for tick in 0..1500u32 {
            budget.plan(&demands, 0.0, TICK * tick);
            let air = on_air(&budget, &demands);
            for (n, silent) in silent.iter_mut().enumerate() {
                *silent = if air.contains(&n) { Duration::ZERO } else { *silent + TICK };
                prop_assert!(*silent <= longest, "c{n} of {of:?}");
            }
            if tick > 4 {
                sum += air.iter().map(|n| of[*n]).sum::<f64>();
                ticks += 1.0;
            }
        }
        prop_assert!(sum / ticks <= LIMIT * 1.1, "{}", sum / ticks);
    }
}
