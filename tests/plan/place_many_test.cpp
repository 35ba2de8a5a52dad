// Placement of tens of thousands of short lives, against the rule applied literally.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "sherd/io/record_file.hpp"
#include "sherd/plan/passes.hpp"
#include "sherd/plan/place.hpp"
#include "sherd/plan/simulate.hpp"

namespace sherd {
namespace {

using plan::Buffer;
using plan::BufferId;
using plan::Lane;
using plan::Mode;
using plan::Placement;
using plan::Program;
using plan::Tier;
using plan::Use;
using plan::Verb;

using Random = std::mt19937_64;
std::uint64_t below(Random& random, std::uint64_t n) { return random() % n; }

// Buffers of all tiers and uses, touched anywhere inside one phase.
Program random_program(Random& random) {
  Program program;
  program.name = "train";
  const std::size_t steps = 1 + below(random, 200);
  for (std::size_t i = 0; i < steps; ++i) {
    plan::Step step;
    step.lane = static_cast<Lane>(below(random, device::lanes));
    program.steps.push_back(step);
  }
  const auto cut = static_cast<std::uint32_t>(below(random, steps + 1));
  for (const auto& [first, last] : {std::pair{0u, cut}, {cut, static_cast<std::uint32_t>(steps)}}) {
    if (first < last)
      program.phases.push_back({"phase", first, last, 1, Lane::compute,
                                below(random, 4) == 0 ? plan::Turn::after : plan::Turn::only});
  }
  for (std::size_t b = 0; b < 5 + below(random, 150); ++b) {
    const plan::Phase& phase = program.phases[below(random, program.phases.size())];
    Buffer buffer{fmt::format("b{}", b),
                  static_cast<Tier>(below(random, memory::tiers)),
                  static_cast<Use>(below(random, memory::uses)),
                  DType::u8,
                  1 + below(random, 20) * below(random, 3000),
                  below(random, 10) == 0};
    program.buffers.push_back(buffer);
    for (std::uint64_t uses = below(random, 4); uses > 0; --uses) {
      const std::size_t at =
          phase.first +
          below(random, std::min<std::uint64_t>(phase.last - phase.first, 1 + below(random, 100)));
      program.steps[at].accesses.push_back(
          {static_cast<BufferId>(b), Mode::update, 0, buffer.size, plan::Role::scratch, 0});
    }
  }
  return program;
}

Bytes multiple_of(const Buffer& buffer) {
  return buffer.tier == Tier::file || buffer.use == Use::staging ? 4096 : 256;
}

struct Literal {
  std::vector<Placement> at;
  std::vector<bool> used;
};

// Only what lies on the device waits for the pace, and only in micro-steps.
std::uint32_t end_of_life(const Program& program, const Buffer& buffer, std::uint32_t last,
                          int window) {
  if (buffer.tier != Tier::device) return last;
  for (const plan::Phase& phase : program.phases) {
    if (last < phase.first || last >= phase.last || program.steps[last].lane == phase.pace ||
        phase.turn == plan::Turn::after)
      continue;
    for (int left = window; left > 0 && last + 1 < phase.last;)
      left -= program.steps[++last].lane == phase.pace ? 1 : 0;
    return last;
  }
  return last;
}

Literal lives(const Program& program, int window) {
  Literal made{std::vector<Placement>(program.buffers.size()),
               std::vector<bool>(program.buffers.size(), false)};
  for (std::size_t b = 0; b < program.buffers.size(); ++b) {
    std::vector<std::uint32_t> uses;
    for (std::uint32_t i = 0; i < program.steps.size(); ++i) {
      for (const plan::Access& a : program.steps[i].accesses)
        if (plan::index_of(a.buffer) == b) uses.push_back(i);
    }
    const bool persistent = program.buffers[b].persistent;
    made.used[b] = persistent || !uses.empty();
    if (persistent) made.at[b].dies = static_cast<std::uint32_t>(program.steps.size() - 1);
    if (!persistent && !uses.empty())
      made.at[b] = {0, uses.front(), end_of_life(program, program.buffers[b], uses.back(), window)};
  }
  return made;
}

// Persistent buffers by name; then the largest first, each at the lowest free multiple, found by
// trying them in turn against every buffer placed before.
Literal place_literally(const Program& program, int window) {
  Literal made = lives(program, window);
  std::vector<std::size_t> queue;
  for (std::size_t b = 0; b < program.buffers.size(); ++b)
    if (made.used[b]) queue.push_back(b);
  std::stable_sort(queue.begin(), queue.end(), [&](std::size_t a, std::size_t b) {
    const Buffer &x = program.buffers[a], &y = program.buffers[b];
    if (x.persistent != y.persistent) return x.persistent;
    return x.persistent ? x.name < y.name : x.size > y.size;
  });
  std::array<Bytes, memory::tiers> base{};
  std::vector<std::size_t> placed;
  for (const std::size_t b : queue) {
    const Buffer& x = program.buffers[b];
    Bytes& top = base[static_cast<std::size_t>(x.tier)];
    Bytes at = round_up(top, multiple_of(x));
    const auto taken = [&](std::size_t other) {
      const Buffer& y = program.buffers[other];
      const bool together =
          made.at[b].born <= made.at[other].dies && made.at[other].born <= made.at[b].dies;
      return x.tier == y.tier && together && at < made.at[other].offset + y.size &&
             made.at[other].offset < at + x.size;
    };
    while (std::any_of(placed.begin(), placed.end(), taken)) at += multiple_of(x);
    made.at[b].offset = at;
    if (x.persistent) top = at + x.size;
    placed.push_back(b);
  }
  return made;
}

Buffer transient(std::string name, Tier tier, Use use, Bytes size) {
  return {std::move(name), tier, use, DType::u8, size, false};
}

// Tiles of an update that stream through the host, beside blocks whose outputs live long: what a
// network of billions of parameters comes to.
class Streamed {
 public:
  Program make() && {
    p_.name = "train";
    Random random(7);
    for (int block = 0; block < 500; ++block) saves_.push_back(add_block(random, block));
    for (std::size_t block = saves_.size(); block-- > 0;)
      step(Verb::backward, Lane::compute, {{saves_[block], Mode::read}});
    p_.phases.push_back({"micro", 0, count(), 1, Lane::compute});
    for (int tile = 0; tile < 10000; ++tile) add_tile(tile);
    p_.phases.push_back({"update", p_.phases[0].last, count(), 1, Lane::host});
    return std::move(p_);
  }

 private:
  struct Part {
    BufferId buffer;
    Mode mode;
  };
  std::uint32_t count() const { return static_cast<std::uint32_t>(p_.steps.size()); }
  BufferId add(Buffer buffer) {
    p_.buffers.push_back(std::move(buffer));
    return static_cast<BufferId>(p_.buffers.size() - 1);
  }
  void step(Verb verb, Lane lane, std::initializer_list<Part> parts) {
    plan::Step made;
    made.verb = verb;
    made.lane = lane;
    for (const Part& part : parts)
      made.accesses.push_back(
          {part.buffer, part.mode, 0, p_.at(part.buffer).size, plan::Role::scratch, 0});
    p_.steps.push_back(std::move(made));
  }
  BufferId add_block(Random& random, int block) {
    const auto device = [&](const char* what, Bytes size) {
      return add(transient(fmt::format("{}{}", what, block), Tier::device, Use::activations, size));
    };
    const BufferId out = device("x", 4000000 + 1000 * below(random, 50));
    step(Verb::forward, Lane::compute, {{out, Mode::write}});
    if (block > 0) p_.steps.back().accesses.push_back(whole_read(saves_.back()));
    const BufferId scratch = device("scratch", 900000);
    step(Verb::forward, Lane::compute, {{scratch, Mode::write}});
    return out;
  }
  plan::Access whole_read(BufferId id) const {
    return {id, Mode::read, 0, p_.at(id).size, plan::Role::in, 0};
  }
  // Three buffers and five steps a tile, three tiles in flight.
  void add_tile(int tile) {
    const BufferId staged = add(transient(fmt::format("staged{}", tile), Tier::host, Use::staging,
                                          io::record_bytes(1 << 20)));
    const BufferId grad =
        add(transient(fmt::format("grad{}", tile), Tier::host, Use::grads, 1 << 18));
    const BufferId stored =
        add(transient(fmt::format("stored{}", tile), Tier::device, Use::params, 1 << 17));
    step(Verb::fetch, Lane::disk, {{staged, Mode::write}});
    step(Verb::fetch, Lane::down, {{grad, Mode::write}});
    flight_.push_back({staged, grad, stored});
    if (flight_.size() == 3) land();
  }
  void land() {
    const auto [staged, grad, stored] = flight_.front();
    flight_.erase(flight_.begin());
    step(Verb::update, Lane::host, {{staged, Mode::update}, {grad, Mode::read}});
    step(Verb::evict, Lane::disk, {{staged, Mode::read}});
    step(Verb::fetch, Lane::up, {{grad, Mode::read}, {stored, Mode::write}});
  }
  struct Tile {
    BufferId staged, grad, stored;
  };
  Program p_;
  std::vector<BufferId> saves_;
  std::vector<Tile> flight_;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("random programs are placed as the rule says, literally") {
  Random random(20);
  for (int number = 0; number < 400; ++number) {
    const Program program = random_program(random);
    const auto window = static_cast<int>(below(random, 4));
    const Literal expected = place_literally(program, window);
    const plan::MemoryPlan made = plan::place({&program, 1}, window);
    for (std::size_t b = 0; b < program.buffers.size(); ++b) {
      INFO(number << ": " << program.buffers[b].name);
      if (!expected.used[b]) continue;
      REQUIRE(made.at[0][b].born == expected.at[b].born);
      REQUIRE(made.at[0][b].dies == expected.at[b].dies);
      REQUIRE(made.at[0][b].offset == expected.at[b].offset);
    }
  }
}

TEST_CASE("what direct transfers move starts on a direct block and all else on 256") {
  Program program;
  program.name = "train";
  program.steps.resize(1);
  program.phases = {{"update", 0, 1, 1, Lane::compute}};
  for (std::uint64_t b = 0; b < 64; ++b) {
    Buffer buffer = transient(fmt::format("b{}", b), static_cast<Tier>(b % 4),
                              static_cast<Use>(b / 4 % 8), 300 + b);
    buffer.persistent = b >= 32;
    program.buffers.push_back(buffer);
    program.steps[0].accesses.push_back(
        {static_cast<BufferId>(b), Mode::write, 0, buffer.size, plan::Role::out, 0});
  }
  const plan::MemoryPlan made = plan::place({&program, 1}, 2);
  bool finer = false;
  for (std::size_t b = 0; b < 64; ++b) {
    const Buffer& buffer = program.buffers[b];
    CHECK(plan::alignment_of(buffer) == multiple_of(buffer));
    CHECK(made.at[0][b].offset % multiple_of(buffer) == 0);
    finer = finer || made.at[0][b].offset % 4096 != 0;
  }
  CHECK(finer);
}

TEST_CASE("a program of thirty thousand buffers and fifty thousand steps is planned") {
  const Program program = Streamed().make();
  CHECK(program.buffers.size() > 30000);
  CHECK(program.steps.size() > 50000);
  auto start = std::chrono::steady_clock::now();
  const auto lap = [&](const char* what) {
    MESSAGE(fmt::format("{}: {:.3f} s", what, seconds_since(start)));
    start = std::chrono::steady_clock::now();
  };
  CHECK(plan::check(program).empty());
  lap("check");
  plan::MemoryPlan memory = plan::place({&program, 1}, 2);
  lap("place");
  const std::vector<plan::Wait> waits = plan::order(program, memory.at[0]);
  lap("order");
  const plan::Estimate estimate = plan::simulate({program, memory.at[0], waits}, {}, {});
  lap("simulate");
  CHECK(!waits.empty());
  CHECK(estimate.seconds > 0);
  // Few tiles are in flight, so few are in memory.
  CHECK(memory.arena[static_cast<std::size_t>(Tier::host)] < 16 * io::record_bytes(1 << 20));
}

}  // namespace sherd
