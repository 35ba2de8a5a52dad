// Bytes of a plan against the closed forms of the design page, to the byte.
#include <doctest/doctest.h>

#include <algorithm>

#include "plan/toy_model.hpp"
#include "sherd/optim/control.hpp"

namespace sherd {
namespace {

using plan::Use;

/// Bytes per parameter of stored parameter, gradient, optimizer.
struct Cost {
  double p, g, o;
};
struct Policy {
  int stage, world;
  bool keeps_full;   // gradients of several micro-steps add up before one reduce
  bool accumulates;  // every micro-step's gradient is reduced onto a shard
};
struct Persistent {
  double params, grads, optimizer;
  [[nodiscard]] double sum() const { return params + grads + optimizer; }
};

// `elements` is the padded number of parameters.
Persistent persistent(const Policy& policy, const Cost& c, double elements) {
  const double n = policy.world;
  const int stage = policy.world > 1 ? policy.stage : 0;
  Persistent bytes{c.p * elements, c.g * elements, c.o * elements};
  if (stage >= 1) bytes.optimizer /= n;
  if (stage >= 2 && !policy.keeps_full) {
    bytes.grads /= n;
  } else if (policy.accumulates) {
    bytes.grads += c.g * elements / n;
  }
  if (stage >= 3) bytes.params /= n;
  return bytes;
}

Policy policy_of(const toy::Case& c) {
  const bool several = c.accum > 1, micro = c.reduce == plan::ReduceEvery::micro;
  return {c.stage, c.world, several && !micro, several && micro};
}

Cost cost_of(const toy::Case& c) {
  const bool half = c.precision != optim::Precision::fp32;
  const double moments = c.optimizer == optim::Kind::adamw ? 8 : 4;
  return {half ? 2.0 : 4.0, c.grad == optim::GradDType::bf16 ? 2.0 : 4.0,
          moments + (half ? 4.0 : 0.0)};
}

double of(const plan::ByUse& bytes, Use use) {
  return static_cast<double>(bytes[static_cast<std::size_t>(use)]);
}

constexpr int worlds[] = {1, 2, 3, 5, 7, 64};

template <class Visit>
void for_each_policy(Visit&& visit) {
  toy::Case c;
  for (const int world : worlds) {
    for (int stage = 0; stage <= 3; ++stage) {
      for (const std::uint32_t accum : {1u, 2u, 4u}) {
        for (const plan::ReduceEvery reduce : {plan::ReduceEvery::step, plan::ReduceEvery::micro}) {
          c.world = world;
          c.stage = stage;
          c.accum = accum;
          c.reduce = reduce;
          visit(c);
        }
      }
    }
  }
}

// Gathers a micro-step at stage 3, counted by hand: layers before the last once for each direction,
// the last layer once across the turn, the embedding's table for the lookup and, if tied, the head.
double gathered(const plan::Setup& setup, const toy::Case& c) {
  double elements = 0;
  const auto buckets = setup.layout.buckets();
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const bool layer = b >= 1 && b <= static_cast<std::size_t>(c.layers);
    const bool twice = (b == 0 && c.tied) || (layer && b < static_cast<std::size_t>(c.layers));
    elements += static_cast<double>(buckets[b].numel) * (twice ? 2 : 1);
  }
  return elements;
}

// What comm/communicator.hpp says an all-reduce of n words sends.
Bytes vote_bytes(int world) {
  const Bytes size = sizeof(optim::Vote), n = static_cast<Bytes>(world);
  if (world == 1) return 0;
  return size / 8 % n == 0 ? 2 * size / n * (n - 1) : size * (n - 1);
}

}  // namespace

TEST_CASE("persistent bytes are the closed form at every stage, format, world and accumulation") {
  const auto check = [](const toy::Case& c) {
    INFO(toy::describe(c));
    const plan::Setup setup = toy::setup(c);
    const plan::ByUse bytes = plan::persistent_bytes(plan::train_program(setup));
    const Persistent want =
        persistent(policy_of(c), cost_of(c), static_cast<double>(setup.layout.padded()));
    REQUIRE(of(bytes, Use::params) == want.params);
    REQUIRE(of(bytes, Use::grads) == want.grads);
    REQUIRE(of(bytes, Use::optimizer) == want.optimizer);
    REQUIRE(of(bytes, Use::control) == 2 * sizeof(optim::Vote) + sizeof(optim::Control));
    for (const Use use : {Use::activations, Use::comm, Use::staging, Use::runtime})
      REQUIRE(of(bytes, use) == 0);
  };
  for_each_policy([&](toy::Case c) {
    for (const auto precision : {optim::Precision::fp32, optim::Precision::bf16}) {
      for (const auto grad : {optim::GradDType::fp32, optim::GradDType::bf16}) {
        for (const auto kind : {optim::Kind::adamw, optim::Kind::lion, optim::Kind::sgd}) {
          c.precision = precision;
          c.grad = grad;
          c.optimizer = kind;
          check(c);
        }
      }
    }
  });
}

TEST_CASE("plain sgd keeps no optimizer state in fp32") {
  optim::OptimizerConfig optimizer;
  optimizer.optimizer = optim::Kind::sgd;
  optimizer.beta1 = 0;
  const plan::Setup setup = plan::make_setup(model::declare(toy::network(1, true), {}, {4, 25}), {},
                                             {}, {}, optimizer, 2);
  CHECK(of(plan::persistent_bytes(plan::train_program(setup)), Use::optimizer) == 0);
}

TEST_CASE("what is sent is the closed form at stages 0 to 2 and at most two gathers at stage 3") {
  for_each_policy([](toy::Case c) {
    for (const auto precision : {optim::Precision::fp32, optim::Precision::bf16}) {
      for (const bool tied : {true, false}) {
        c.precision = precision;
        c.tied = tied;
        INFO(toy::describe(c));
        const plan::Setup setup = toy::setup(c);
        const plan::Wire wire = plan::wire_bytes(plan::train_program(setup), c.world);
        const double f = (c.world - 1.0) / c.world,
                     elements = static_cast<double>(setup.layout.padded());
        const double micro_steps = c.accum;
        const double r = c.reduce == plan::ReduceEvery::micro ? micro_steps : 1;
        const Cost cost = cost_of(c);
        REQUIRE(static_cast<double>(wire.reduce_scatter) ==
                doctest::Approx(f * cost.g * elements * r));
        REQUIRE(wire.all_reduce == vote_bytes(c.world));
        const double sent = static_cast<double>(wire.all_gather);
        if (c.stage == 0) {
          REQUIRE(sent == doctest::Approx(f * cost.g * elements));
        } else if (c.stage < 3) {
          REQUIRE(sent == doctest::Approx(f * cost.p * elements));
        } else {
          REQUIRE(sent == doctest::Approx(f * cost.p * gathered(setup, c) * micro_steps));
          REQUIRE(sent <= f * cost.p * elements * 2 * micro_steps);
        }
      }
    }
  });
}

TEST_CASE("an evaluation gathers each bucket once at stages 1 and 2 and nothing at stage 0") {
  toy::Case c;
  c.eval_batches = 5;
  c.world = 3;
  for (c.stage = 0; c.stage <= 2; ++c.stage) {
    const plan::Setup setup = toy::setup(c);
    const plan::Wire wire = plan::wire_bytes(plan::evaluate_program(setup), c.world);
    CHECK(wire.all_gather == (c.stage == 0 ? 0 : setup.layout.padded() * 4 / 3 * 2));
    CHECK(wire.reduce_scatter == 0);
    CHECK(wire.all_reduce == vote_bytes(3));
  }
}

// Rajbhandari et al. 2020, figure 1: 7.5e9 parameters, 64 ranks, K = 12.
TEST_CASE("the formula gives the table of the ZeRO paper") {
  const double gb[] = {120, 31.4, 16.6, 1.88};
  for (int stage = 0; stage <= 3; ++stage) {
    const Persistent bytes = persistent({stage, 64, false, false}, {2, 2, 12}, 7.5e9);
    CHECK(bytes.sum() / 1e9 == doctest::Approx(gb[stage]).epsilon(0.003));
  }
}

}  // namespace sherd
