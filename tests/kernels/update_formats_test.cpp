// Every combination of formats against fp64, step by step, and what each format promises.
#include <doctest/doctest.h>

#include "kernels/update_state.hpp"
#include "sherd/base/errors.hpp"

using namespace sherd;
using namespace sherd::test;
using kernels::UpdateScalars;

namespace {

struct Numbers {
  double p = 0, m = 0, v = 0;
};

/// One element by the papers' formulas.
Numbers follow(Rule rule, Numbers at, double g, const UpdateScalars& s) {
  const double lr = static_cast<double>(s.lr), decay = static_cast<double>(0.1f),
               b1 = static_cast<double>(0.9f), b2 = static_cast<double>(0.999f);
  if (rule == Rule::sgd) {
    at.m = b1 * at.m + g + decay * at.p;
    at.p -= lr * at.m;
  } else if (rule == Rule::lion) {
    const double blend = b1 * at.m + (1 - b1) * g;
    const double sign = blend > 0 ? 1 : blend < 0 ? -1 : 0;
    at.p -= lr * (sign + decay * at.p);
    at.m = b2 * at.m + (1 - b2) * g;
  } else {
    at.m = b1 * at.m + (1 - b1) * g;
    at.v = b2 * at.v + (1 - b2) * g * g;
    const double root = std::sqrt(at.v / s.bias2) + static_cast<double>(1e-8f);
    at.p -= lr * decay * at.p + lr * (at.m / s.bias1) / root;
  }
  return at;
}

/// Is what a format keeps as near as it can be? Of bf16, one of the two neighbours.
bool keeps(const Cells& cells, std::int64_t i, double want) {
  const double off = std::abs(cells[i] - want), size = std::abs(want);
  if (cells.type() == DType::f32) return off <= 2e-6 * (size + (cells.is_signed() ? 1 : 0));
  if (cells.type() == DType::bf16) return off <= size / 128 + 1e-8;
  const double scale = cells.scale(i / 256);
  double best = 2 * scale;
  for (const double value : published(cells.is_signed())) {
    if (!cells.is_signed() && value == 0 && want > 0) continue;
    best = std::min(best, std::abs(value * scale - want));
  }
  return off <= best + 2e-6 * scale;
}
bool has_scales(const Cells& cells, const std::vector<double>& want) {
  if (cells.type() != DType::q8) return true;
  for (std::size_t b = 0; b < want.size() / 256; ++b) {
    double most = 0;
    for (std::size_t i = 0; i < 256; ++i) most = std::max(most, std::abs(want[b * 256 + i]));
    if (std::abs(cells.scale(static_cast<std::int64_t>(b)) - most) > 2e-6 * most) return false;
  }
  return true;
}

void redraw(UpdateState& state, int step) {
  const auto plain = noise(100 + static_cast<std::uint64_t>(step), 3);
  for (std::int64_t i = 0; i < state.grad.numel(); ++i) {
    const auto g = static_cast<float>(plain(i));
    if (state.grad.type() == DType::f32) state.grad.set_raw(i, g);
    if (state.grad.type() == DType::bf16) state.grad.set_raw(i, to_bfloat16(g));
  }
}

}  // namespace

TEST_CASE("every optimizer in every combination of formats takes fp64's steps") {
  device::Stream stream(1);
  constexpr std::int64_t n = 768;
  for (const Rule rule : rules) {
    for (const Formats& formats : all_formats()) {
      CAPTURE(static_cast<int>(rule));
      CAPTURE(name_of(formats.moments));
      CAPTURE(formats.split);
      UpdateState state(rule, n, formats);
      for (int step = 1; step <= 12; ++step) {
        redraw(state, step);
        const UpdateState before = state;
        const UpdateScalars s = scalars_at(step, 1e-3f);
        state.update(s, stream);
        std::vector<double> m, v;
        std::int64_t wrong = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const bool has_v = rule == Rule::adamw;
          const Numbers want = follow(rule,
                                      {.p = static_cast<double>(before.weight(i)),
                                       .m = before.m[i],
                                       .v = has_v ? before.v[i] : 0},
                                      before.grad[i] * 0.25, s);
          m.push_back(want.m);
          v.push_back(want.v);
          const bool right = std::abs(static_cast<double>(state.weight(i)) - want.p) < 1e-6 &&
                             keeps(state.m, i, want.m) && (!has_v || keeps(state.v, i, want.v));
          const bool stored =
              state.param.raw<bfloat16>(i).bits == to_stored_bfloat16(state.weight(i)).bits;
          wrong += right && stored ? 0 : 1;
        }
        REQUIRE(wrong == 0);
        REQUIRE(has_scales(state.m, m));
        if (rule == Rule::adamw) REQUIRE(has_scales(state.v, v));
      }
      CHECK(state.guarded());
    }
  }
}

TEST_CASE("a split master has the bits of an fp32 one through many steps and awkward values") {
  device::Stream stream(1);
  const auto value = [plain = noise(9)](std::int64_t i) -> double {
    constexpr std::uint32_t odd[] = {0x80000000u, 0x00000001u, 0x807fffffu, 0x3f808000u,
                                     0x3f818000u, 0xbf808000u, 0x7f7fffffu, 0xff7f8000u,
                                     0x00008000u, 0x3f807fffu, 0x3f808001u, 0x7f7f7fffu};
    return i % 3 == 0 ? static_cast<double>(std::bit_cast<float>(odd[(i / 3) % 12])) : plain(i);
  };
  for (const Rule rule : rules) {
    for (const DType moments : {DType::f32, DType::bf16, DType::q8}) {
      const std::int64_t n = moments == DType::q8 ? 1024 : 999;
      UpdateState whole(rule, n, {DType::bf16, moments, false}, value),
          split(rule, n, {DType::bf16, moments, true}, value);
      for (int step = 1; step <= 40; ++step) {
        redraw(whole, step);
        redraw(split, step);
        const UpdateScalars s = scalars_at(step, step % 2 == 0 ? 1e-2f : 1e-7f);
        whole.update(s, stream);
        split.update(s, stream);
        std::int64_t wrong = 0;
        for (std::int64_t i = 0; i < n; ++i) {
          const auto a = std::bit_cast<std::uint32_t>(whole.weight(i)),
                     b = std::bit_cast<std::uint32_t>(split.weight(i));
          wrong += a == b ? 0 : 1;
        }
        REQUIRE(wrong == 0);
        REQUIRE(whole.param == split.param);
        REQUIRE(whole.m == split.m);
        REQUIRE(whole.v == split.v);
      }
      CHECK(split.guarded());
    }
  }
}

TEST_CASE("a range cut at quanta, in any order and on any threads, gives the bits of the whole") {
  device::Stream one(1), two(2);
  constexpr std::int64_t n = 80 * 256;
  for (const Rule rule : rules) {
    for (const Formats& formats : all_formats()) {
      UpdateState whole(rule, n, formats), parts = whole;
      for (int step = 1; step <= 2; ++step) {
        const UpdateScalars s = scalars_at(step, 1e-2f);
        whole.update(s, two);
        parts.update(s, one, 3 * 256, 70 * 256);
        parts.update(s, one, 73 * 256, 7 * 256);
        parts.update(s, one, 0, 3 * 256);
      }
      CHECK(whole == parts);
    }
  }
}

TEST_CASE("an update that is skipped changes no byte of any format") {
  device::Stream stream(1);
  for (const Rule rule : rules) {
    for (const Formats& formats : all_formats()) {
      UpdateState state(rule, 512, formats);
      const UpdateState before = state;
      UpdateScalars s = scalars_at(1, 1e-2f);
      s.skip = 1;
      state.update(s, stream);
      CHECK(state == before);
    }
  }
}

TEST_CASE("bf16 moments are rounded without bias, by bits of their own at every update") {
  device::Stream stream(1);
  constexpr std::int64_t n = 1 << 16;
  UpdateState state(Rule::adamw, n, {DType::f32, DType::bf16, false});
  const auto start = [&] {
    for (std::int64_t i = 0; i < n; ++i) {
      state.grad.set_raw(i, 0.0f);
      state.m.set_raw(i, to_bfloat16(1));
      state.v.set_raw(i, to_bfloat16(1));
    }
  };
  // 0.9 and 0.999 lie between two bf16 numbers each: the mean must be theirs.
  std::vector<std::uint16_t> first;
  for (int step = 1; step <= 3; ++step) {
    start();
    state.update(scalars_at(step, 1e-3f), stream);
    double m = 0, v = 0, both = 0;
    std::int64_t same = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      m += state.m[i] / n;
      v += state.v[i] / n;
      both += (state.m[i] - 0.9) * (state.v[i] - 0.999) / n;
      if (step == 1) first.push_back(state.m.raw<bfloat16>(i).bits);
      same += first[static_cast<std::size_t>(i)] == state.m.raw<bfloat16>(i).bits ? 1 : 0;
    }
    const double noise_of_mean = 1.0 / 256 / 2 / std::sqrt(n);  // a coin's, at most
    CHECK(std::abs(m - 0.9) < 5 * noise_of_mean);
    CHECK(std::abs(v - 0.999) < 5 * noise_of_mean);
    CHECK(std::abs(both) < 5 * noise_of_mean / 512);  // independent
    if (step > 1) CHECK(same < n * 9 / 10);
  }
}

TEST_CASE("zeroed memory is a state of zeros in every format, and zeros stay zeros") {
  device::Stream stream(1);
  const auto zeros = [](std::int64_t) { return 0.0; };
  for (const Rule rule : rules) {
    for (const Formats& formats : all_formats()) {
      UpdateState state(rule, 512, formats, zeros);
      state.m = Cells(512, formats.moments, true, zeros);
      if (rule == Rule::adamw) state.v = Cells(512, formats.moments, false, zeros);
      for (std::int64_t i = 0; i < 512; ++i) {
        if (formats.grad == DType::f32) state.grad.set_raw(i, 0.0f);
        if (formats.grad == DType::bf16) state.grad.set_raw(i, bfloat16{0});
      }
      std::vector<std::byte> empty(state.m.view(0, 512).bytes());
      CHECK(std::memcmp(state.m.view(0, 512).data, empty.data(), empty.size()) == 0);
      const UpdateState before = state;
      for (int step = 1; step <= 3; ++step) state.update(scalars_at(step, 1e-2f), stream);
      CHECK(state == before);
    }
  }
}

TEST_CASE("a tiny second moment beside a large one does not let 8-bit adamw explode") {
  device::Stream stream(1);
  UpdateState state(Rule::adamw, 256, {DType::f32, DType::q8, false});
  state.m = Cells(256, DType::q8, true, [](std::int64_t) { return 0.0; });
  state.v = Cells(256, DType::q8, false, [](std::int64_t) { return 0.0; });
  const UpdateScalars s = scalars_at(100000, 1e-3f);
  for (std::int64_t i = 0; i < 256; ++i)
    state.grad.set_raw(i, i == 0 ? 126.4f : 4e-3f);  // v becomes 1, and 1e-9: nearest is zero
  state.update(s, stream);
  for (std::int64_t i = 0; i < 256; ++i) {
    CHECK(state.v[i] > 0);
    CHECK(state.m[i] > 0);
    state.grad.set_raw(i, 0.0f);
  }
  const UpdateState before = state;
  state.update(s, stream);
  for (std::int64_t i = 0; i < 256; ++i) {
    const auto moved = static_cast<double>(state.weight(i) - before.weight(i));
    CHECK(std::abs(moved) < 10 * 1e-3);  // some learning rates, not m / eps of them
  }
}

TEST_CASE("updates refuse halves of a split master, cut blocks and moments of two types") {
  device::Stream stream(1);
  const UpdateScalars s = scalars_at(1, 1e-2f);
  UpdateState split(Rule::adamw, 512, {DType::f32, DType::q8, true});
  const auto args = [&](std::int64_t count) {
    return kernels::UpdateArgs{.grad = split.grad.view(0, count),
                               .master = split.master.view(0, count),
                               .m = split.m.view(0, count),
                               .v = split.v.view(0, count),
                               .param = split.param.view(0, count),
                               .scalars = &s};
  };
  const auto message = [&](const kernels::UpdateArgs& given) -> std::string {
    try {
      kernels::adamw(given, stream);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "nothing";
  };
  CHECK(message(args(512)) == "nothing");
  CHECK(message(args(300)) ==
        "adamw: got m or v of another size or type, need both in fp32, bf16 or whole blocks of q8");
  auto given = args(512);
  given.param = {};
  CHECK(message(given) ==
        "adamw: got a u16 master without a bf16 parameter, need both halves of it");
  given.param = split.param.view(0, 512);
  given.param.type = DType::f16;
  CHECK(message(given) ==
        "adamw: got a u16 master without a bf16 parameter, need both halves of it");
  Cells wide(512, DType::f32, false, UpdateState::second);
  given = args(512);
  given.v = wide.view(0, 512);
  CHECK(message(given) ==
        "adamw: got m or v of another size or type, need both in fp32, bf16 or whole blocks of q8");
}

TEST_CASE("a master that was stored is loaded again bit for bit") {
  device::Stream stream(1);
  constexpr std::int64_t n = 40001;
  Array master({1, n}, DType::f32, noise(1, 100)), back({1, n}, DType::f32);
  Array param({1, n}, DType::bf16), half({1, n}, DType::f16), rest({1, n}, DType::bf16);
  master.set(7, -0.0);
  master.set(8, 3.4028234e38);
  View remainder = rest.view();
  remainder.type = DType::u16;
  kernels::store_master(master.view(), param.view(), remainder, stream);
  kernels::load_master(param.view(), remainder, back.view());
  CHECK(back == master);
  Array alone = param;
  kernels::store_master(master.view(), alone.view(), {}, stream);
  CHECK(alone == param);
  kernels::load_master(param.view(), {}, back.view());
  for (std::int64_t i = 0; i < n; ++i) REQUIRE(back[i] == param[i]);
  kernels::store_master(master.view(), half.view(), {}, stream);
  CHECK(half == Array({1, n}, DType::f16, [&](std::int64_t i) { return master[i]; }));
  CHECK(rest.guarded());
  CHECK_THROWS_AS(kernels::store_master(master.view(), half.view(), remainder, stream), UsageError);
  CHECK_THROWS_AS(kernels::load_master(half.view(), remainder, back.view()), UsageError);
  CHECK_THROWS_AS(kernels::store_master(param.view(), half.view(), {}, stream), UsageError);
}
