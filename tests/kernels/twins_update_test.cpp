// Norms, folds, updates and the verdict: integers and per-element arithmetic, so the CPU's bits.
#include <doctest/doctest.h>

#include <array>

#include "kernels/twin.hpp"
#include "kernels/update_state.hpp"
#include "sherd/kernels/block8.hpp"
#include "sherd/kernels/reduction.hpp"
#include "sherd/kernels/update.hpp"
#include "sherd/optim/control.hpp"

using namespace sherd;
using test::Both;
using test::noise;
using test::Twin;

namespace {

constexpr DType grad_types[] = {DType::f32, DType::bf16};
const Philox bits{11, 22};

}  // namespace

TEST_CASE("the squared norm of the device has the CPU's limbs, broken elements included") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType type : grad_types) {
    for (const std::int64_t quanta : {0, 1, 3, 1001}) {
      for (const bool broken : {false, true}) {
        const auto value = [=, plain = noise(5, 100)](std::int64_t i) {
          if (broken && i % 1500 == 777) return i % 2 == 0 ? HUGE_VAL : std::nan("");
          return plain(i) * std::exp2(static_cast<double>(i % 60 - 30));
        };
        Both &x = twin.make({1, quanta * kernels::quantum}, type, value),
             &sum = twin.bytes_of(kernels::NormSum{});
        twin.run([&](StreamRef s) {
          kernels::square_norm(x.at(s), *sum.as<kernels::NormSum>(s), s);
          kernels::square_norm(x.at(s), *sum.as<kernels::NormSum>(s), s);
        });
        CHECK(twin.same(sum));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

TEST_CASE("a fold on the device gives the CPU's bits in every type, order and mode") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType type : {DType::f32, DType::bf16, DType::i64}) {
    for (const std::size_t count : {1u, 2u, 5u, 9u}) {
      for (const std::int64_t n : {1, 257, 4099}) {
        for (int form = 0; form < 8; ++form) {
          const bool random = (form & 4) != 0;
          if (random && type != DType::bf16) continue;
          std::vector<Both*> parts;
          for (std::size_t i = 0; i < count; ++i)
            parts.push_back(&twin.make({1, n}, type, noise(i + 1, 1000)));
          Both& out = (form & 2) != 0 ? *parts.back() : twin.make({1, n}, type, noise(77, 1000));
          twin.run([&](StreamRef s) {
            std::vector<const std::byte*> sources;
            for (Both* part : parts) sources.push_back(part->at(s).data);
            const Philox own = bits;
            kernels::fold(
                {.sources = sources,
                 .out = out.at(s),
                 .mode = (form & 1) != 0 ? Write::add : Write::set,
                 .order = (form & 2) != 0 ? kernels::FoldOrder::fast : kernels::FoldOrder::left,
                 .round = random ? &own : nullptr,
                 .first = 1000003},
                s);
          });
          CHECK(twin.same(out));
          CHECK(twin.is_sound());
          twin.clear();
        }
      }
    }
  }
}

TEST_CASE("every update on the device gives the CPU's bits, and a skipped one changes none") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  using Update = void (*)(const kernels::UpdateArgs&, StreamRef);
  constexpr std::array<Update, 3> updates = {kernels::adamw, kernels::lion, kernels::sgd};
  for (std::size_t which = 0; which < updates.size(); ++which) {
    for (const DType grad : grad_types) {
      for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {  // fp32: the master itself
        for (const std::int64_t n : {1, 255, 257, 4099}) {
          for (const std::uint32_t skip : {0u, 1u}) {
            Both &g = twin.make({1, n}, grad, noise(1, 100)),
                 &master = twin.make({1, n}, DType::f32, noise(2)),
                 &m = twin.make({1, n}, DType::f32, noise(3)),
                 &v = twin.make({1, n}, DType::f32, [](std::int64_t i) { return double(i % 7); }),
                 &param = twin.make({1, n}, stored, noise(5)),
                 &scalars = twin.bytes_of(kernels::UpdateScalars{0.01f, 3e-3f, 0.1, 0.01, skip});
            const test::Array before = master.host;
            twin.run([&](StreamRef s) {
              kernels::UpdateArgs args{.grad = g.at(s),
                                       .master = master.at(s),
                                       .m = m.at(s),
                                       .v = v.at(s),
                                       .param = param.at(s),
                                       .weight_decay = 0.1f,
                                       .scalars = scalars.as<kernels::UpdateScalars>(s)};
              if (which != 0) args.v = {};
              if (stored == DType::f32) args.param = {};
              updates[which](args, s);
            });
            for (Both* each : {&master, &m, &v, &param}) CHECK(twin.same(*each));
            CHECK((master.device(twin.stream) == before) == (skip != 0));
            CHECK(twin.is_sound());
            twin.clear();
          }
        }
      }
    }
  }
}

TEST_CASE("updates of split masters, bf16 and 8-bit moments give the CPU's bits on the device") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  using Bytes4k = std::array<std::byte, 4096>;
  const auto keep = [&](test::Cells& cells) -> Both* {
    Bytes4k raw{};
    const View view = cells.view(0, cells.numel());
    if (view) std::memcpy(raw.data(), view.data, view.bytes());
    return view ? &twin.bytes_of(raw) : nullptr;
  };
  using Update = void (*)(const kernels::UpdateArgs&, StreamRef);
  constexpr std::array<Update, 3> updates = {kernels::adamw, kernels::lion, kernels::sgd};
  for (const test::Rule rule : test::rules) {
    for (const test::Formats& formats : test::all_formats()) {
      for (const std::uint32_t skip : {0u, 1u}) {
        const std::int64_t n = formats.moments == DType::q8 ? 1024 : 1021;
        test::UpdateState state(rule, n, formats);
        kernels::UpdateScalars numbers = test::scalars_at(7, 1e-2f);
        numbers.skip = skip;
        const kernels::UpdateArgs plain = state.args(numbers, 0, n);
        Both *grad = keep(state.grad), *master = keep(state.master), *m = keep(state.m),
             *v = keep(state.v), *param = keep(state.param);
        Both& scalars = twin.bytes_of(numbers);
        const test::Array before = master->host;
        twin.run([&](StreamRef s) {
          kernels::UpdateArgs args = plain;
          args.grad.data = grad->at(s).data;
          args.master.data = master->at(s).data;
          args.m.data = m->at(s).data;
          if (v != nullptr) args.v.data = v->at(s).data;
          args.param.data = param->at(s).data;
          args.scalars = scalars.as<kernels::UpdateScalars>(s);
          updates[static_cast<std::size_t>(rule)](args, s);
        });
        for (Both* each : {master, m, v, param}) CHECK((each == nullptr || twin.same(*each)));
        CHECK((master->device(twin.stream) == before) == (skip != 0));
        CHECK(twin.is_sound());
        twin.clear();
      }
    }
  }
}

TEST_CASE("8-bit blocks widen to the CPU's bits in every type on the device") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  constexpr std::int64_t n = 9 * 256;
  test::Cells cells(n, DType::q8, true, noise(9, 0.02));
  std::array<std::byte, 9 * 260> raw{};
  std::memcpy(raw.data(), cells.view(0, n).data, raw.size());
  for (const DType type : test::float_types) {
    Both &blocks = twin.bytes_of(raw), &out = twin.make({1, n}, type, noise(2));
    twin.run([&](StreamRef s) {
      kernels::decode_blocks({blocks.at(s).data, {1, n}, DType::q8}, out.at(s), s);
    });
    CHECK(twin.same(out));
    CHECK(twin.is_sound());
    twin.clear();
  }
}

TEST_CASE("an update by a factor of zero or a broken gradient gives the CPU's bits") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  Both &g = twin.make({1, 1024}, DType::f32, test::awkward(1)),
       &master = twin.make({1, 1024}, DType::f32, noise(2)),
       &m = twin.make({1, 1024}, DType::f32, noise(3)),
       &scalars = twin.bytes_of(kernels::UpdateScalars{1, 1e-2f, 1, 1, 0});
  twin.run([&](StreamRef s) {
    kernels::UpdateArgs args{};
    args.grad = g.at(s);
    args.master = master.at(s);
    args.m = m.at(s);
    args.scalars = scalars.as<kernels::UpdateScalars>(s);
    kernels::sgd(args, s);
  });
  CHECK(twin.same(master));
  CHECK(twin.same(m));
  CHECK(twin.is_sound());
}

TEST_CASE("the verdict of the device is the CPU's, bit for bit, through many steps") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  const optim::DecideConfig config{
      .nominal_tokens = 100, .clip_grad_norm = 1, .dynamic = true, .scale_min = 1, .window = 3};
  optim::Control start{};
  start.scale = 65536;
  start.hysteresis = 2;
  Both& control = twin.bytes_of(start);
  std::vector<Both*> votes, reports;
  for (int step = 0; step < 12; ++step) {
    optim::Vote vote{};
    vote.norm.squares.add(1e9 * (step + 1));
    vote.norm.nonfinite = step % 5 == 3 ? 7 : 0;
    vote.loss.loss.add(330.25 + step);
    vote.loss.tokens = step == 8 ? 0 : 90 + step;
    vote.loss.nonfinite = step == 6 ? 1 : 0;
    vote.wishes = step == 11 ? 2 : 0;
    votes.push_back(&twin.bytes_of(vote));
    reports.push_back(&twin.bytes_of(optim::EvalReport{}));
  }
  twin.run([&](StreamRef s) {
    for (std::size_t i = 0; i < votes.size(); ++i) {
      const auto& vote = *votes[i]->as<const optim::Vote>(s);
      optim::decide(vote, config, *control.as<optim::Control>(s), s);
      optim::report(vote, *reports[i]->as<optim::EvalReport>(s), s);
    }
  });
  optim::Control end;
  std::memcpy(&end, control.device(twin.stream).bytes().data(), sizeof end);
  optim::Control want;
  std::memcpy(&want, control.host.bytes().data(), sizeof want);
  CHECK(end.step == 12);
  CHECK(end.scale == want.scale);
  CHECK(end.applied == want.applied);
  CHECK(end.norm == want.norm);
  CHECK(end.loss == want.loss);
  CHECK(end.update.factor == want.update.factor);
  CHECK(end.update.skip == want.update.skip);
  CHECK(end.stop == 2);
  for (Both* each : reports) {
    optim::EvalReport got, told;
    std::memcpy(&got, each->device(twin.stream).bytes().data(), sizeof got);
    std::memcpy(&told, each->host.bytes().data(), sizeof told);
    CHECK(got.tokens == told.tokens);
    CHECK((got.loss == told.loss || (std::isnan(got.loss) && std::isnan(told.loss))));
  }
  CHECK(twin.is_sound());
}
