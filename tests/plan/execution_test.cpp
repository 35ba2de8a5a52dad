// Plans acted out: lanes run as their queues and the emitted waits allow, in random order, and
// every byte is tagged with the issue that wrote it. Shares no code with `order` or `races`.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "plan/toy_model.hpp"

namespace sherd {
namespace {

using plan::Access;
using plan::Mode;

constexpr std::int64_t unwritten = -1;

struct CellRange {
  std::size_t first, end;
};
struct Issue {
  std::uint32_t step;
  std::size_t lane;
  std::size_t round;                                // which run of a phase
  std::vector<std::pair<std::size_t, int>> needs;   // lane, how many of its issues must be done
  std::vector<std::vector<std::int64_t>> expected;  // by access and cell, of what it reads
};
/// Which lane goes first when several could.
enum class Favour { nobody, first, last };

class Stage {
 public:
  Stage(const plan::Scheduled& scheduled, std::span<const plan::Wait> waits, int cycles)
      : program_(scheduled.program) {
    cut_cells(scheduled);
    issue_all(waits, cycles);
    run_in_order();
  }

  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }

  /// What went wrong first under this schedule; empty if nothing did.
  [[nodiscard]] std::string act(std::uint64_t seed, Favour favour) {
    std::mt19937_64 random(seed);
    tags_.assign(cells_, unwritten);
    fault_.clear();
    std::array<std::size_t, device::lanes> begun{}, done{};
    for (std::size_t left = issues_.size(); left > 0 && fault_.empty();) {
      std::vector<std::size_t> able;
      for (std::size_t lane = 0; lane < queues_.size(); ++lane) {
        const bool running = begun[lane] > done[lane];
        if (running ||
            (begun[lane] < queues_[lane].size() && ready(queues_[lane][begun[lane]], done)))
          able.push_back(lane);
      }
      if (able.empty()) return "no lane can go on";
      std::size_t lane = able[random() % able.size()];
      if (favour == Favour::first && random() % 8 != 0) lane = able.front();
      if (favour == Favour::last && random() % 8 != 0) lane = able.back();
      if (begun[lane] == done[lane]) {
        start(queues_[lane][begun[lane]++]);
      } else {
        finish(queues_[lane][done[lane]++]);
        --left;
      }
    }
    return fault_;
  }

 private:
  void cut_cells(const plan::Scheduled& s) {
    std::array<std::vector<Bytes>, memory::tiers> edges;
    const auto each = [&](auto&& visit) {
      for (std::size_t i = 0; i < program_.steps.size(); ++i) {
        for (const Access& a : program_.steps[i].accesses) {
          const auto tier = static_cast<std::size_t>(program_.at(a.buffer).tier);
          const Bytes first = s.at[plan::index_of(a.buffer)].offset + a.first;
          visit(i, tier, first, first + a.size);
        }
      }
    };
    each([&](std::size_t, std::size_t tier, Bytes first, Bytes end) {
      edges[tier].insert(edges[tier].end(), {first, end});
    });
    std::array<std::size_t, memory::tiers> base{};
    for (std::size_t tier = 0; tier < edges.size(); ++tier) {
      std::sort(edges[tier].begin(), edges[tier].end());
      edges[tier].erase(std::unique(edges[tier].begin(), edges[tier].end()), edges[tier].end());
      base[tier] = cells_;
      cells_ += edges[tier].size();
    }
    ranges_.resize(program_.steps.size());
    each([&](std::size_t step, std::size_t tier, Bytes first, Bytes end) {
      const auto cell = [&](Bytes at) {
        const auto& e = edges[tier];
        return base[tier] +
               static_cast<std::size_t>(std::lower_bound(e.begin(), e.end(), at) - e.begin());
      };
      ranges_[step].push_back({cell(first), cell(end)});
    });
  }

  void issue_all(std::span<const plan::Wait> waits, int cycles) {
    std::vector<int> ticket(program_.steps.size(), 0);
    std::size_t round = 0;
    for (int cycle = 0; cycle < cycles; ++cycle) {
      for (const plan::Phase& phase : program_.phases) {
        for (std::uint32_t r = 0; r < phase.repeat; ++r, ++round) {
          for (std::uint32_t step = phase.first; step < phase.last; ++step) {
            Issue issue{step, static_cast<std::size_t>(program_.steps[step].lane), round, {}, {}};
            for (const plan::Wait& wait : waits) {
              if (wait.step == step)
                issue.needs.emplace_back(static_cast<std::size_t>(program_.steps[wait.on].lane),
                                         ticket[wait.on]);
            }
            queues_[issue.lane].push_back(issues_.size());
            ticket[step] = static_cast<int>(queues_[issue.lane].size());
            issues_.push_back(std::move(issue));
          }
        }
      }
    }
  }

  // Sequential consistency: what each read finds when steps run one after the other. A transient's
  // bytes must have been written through the same buffer, in the same run of the phase.
  void run_in_order() {
    std::vector<std::int64_t> tags(cells_, unwritten);
    std::vector<std::uint32_t> through(cells_, ~std::uint32_t{0});
    for (std::size_t i = 0; i < issues_.size(); ++i) {
      Issue& issue = issues_[i];
      const auto& accesses = program_.steps[issue.step].accesses;
      issue.expected.resize(accesses.size());
      for (std::size_t a = 0; a < accesses.size(); ++a) {
        const auto id = static_cast<std::uint32_t>(accesses[a].buffer);
        const plan::Buffer& buffer = program_.at(accesses[a].buffer);
        const CellRange range = ranges_[issue.step][a];
        for (std::size_t c = range.first; c < range.end && accesses[a].mode != Mode::write; ++c) {
          issue.expected[a].push_back(tags[c]);
          const bool fresh = tags[c] != unwritten && through[c] == id &&
                             issues_[static_cast<std::size_t>(tags[c])].round == issue.round;
          const bool kept = buffer.persistent && (tags[c] == unwritten || through[c] == id);
          if (!fresh && !kept)
            problems_.push_back("step " + std::to_string(issue.step) + " reads bytes of " +
                                buffer.name + " nobody wrote");
        }
      }
      for (std::size_t a = 0; a < accesses.size(); ++a) {
        const CellRange range = ranges_[issue.step][a];
        for (std::size_t c = range.first; c < range.end && accesses[a].mode != Mode::read; ++c) {
          tags[c] = static_cast<std::int64_t>(i);
          through[c] = static_cast<std::uint32_t>(accesses[a].buffer);
        }
      }
    }
  }

  bool ready(std::size_t i, const std::array<std::size_t, device::lanes>& done) const {
    return std::all_of(issues_[i].needs.begin(), issues_[i].needs.end(), [&](const auto& need) {
      return done[need.first] >= static_cast<std::size_t>(need.second);
    });
  }
  // While a step runs, what it writes holds nothing anybody may read.
  static std::int64_t half_written(std::size_t i) { return -2 - static_cast<std::int64_t>(i); }

  void start(std::size_t i) {
    check_reads(i, Mode::read);
    check_reads(i, Mode::update);
    mark(i, half_written(i));
  }
  void finish(std::size_t i) {
    check_reads(i, Mode::read);
    for_writes(i, [&](std::int64_t& tag) {
      if (tag != half_written(i)) fail(i, "was overwritten while it wrote");
    });
    mark(i, static_cast<std::int64_t>(i));
  }
  void check_reads(std::size_t i, Mode mode) {
    const Issue& issue = issues_[i];
    const auto& accesses = program_.steps[issue.step].accesses;
    for (std::size_t a = 0; a < accesses.size(); ++a) {
      if (accesses[a].mode != mode) continue;
      const CellRange range = ranges_[issue.step][a];
      for (std::size_t c = range.first; c < range.end; ++c) {
        if (tags_[c] != issue.expected[a][c - range.first])
          fail(i, "finds the wrong bytes in " + program_.at(accesses[a].buffer).name);
      }
    }
  }
  template <class Visit>
  void for_writes(std::size_t i, Visit&& visit) {
    const auto& accesses = program_.steps[issues_[i].step].accesses;
    for (std::size_t a = 0; a < accesses.size(); ++a) {
      const CellRange range = ranges_[issues_[i].step][a];
      for (std::size_t c = range.first; c < range.end && accesses[a].mode != Mode::read; ++c)
        visit(tags_[c]);
    }
  }
  void mark(std::size_t i, std::int64_t as) {
    for_writes(i, [&](std::int64_t& tag) { tag = as; });
  }
  void fail(std::size_t i, const std::string& what) {
    if (fault_.empty()) fault_ = "step " + std::to_string(issues_[i].step) + " " + what;
  }

  const plan::Program& program_;
  std::size_t cells_ = 0;
  std::vector<std::vector<CellRange>> ranges_;
  std::vector<Issue> issues_;
  std::array<std::vector<std::size_t>, device::lanes> queues_;
  std::vector<std::int64_t> tags_;
  std::vector<std::string> problems_;
  std::string fault_;
};

// The first fault in `schedules` of each kind.
std::string fault_of(Stage& stage, std::uint64_t schedules) {
  for (std::uint64_t seed = 0; seed < schedules; ++seed) {
    for (const Favour favour : {Favour::first, Favour::last, Favour::nobody}) {
      const std::string fault = stage.act(seed, favour);
      if (!fault.empty()) return fault;
    }
  }
  return {};
}

}  // namespace

TEST_CASE("plans read what the last writer in issue order wrote, however lanes interleave") {
  for (std::size_t number = 0; number < toy::cases; number += 7) {
    const toy::Case c = toy::numbered(number);
    INFO(toy::describe(c));
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    std::vector<const plan::Scheduled*> programs{&plan.train};
    if (plan.evaluate) programs.push_back(&*plan.evaluate);
    for (const plan::Scheduled* s : programs) {
      Stage stage(*s, s->waits, 3);
      REQUIRE_MESSAGE(stage.problems().empty(), stage.problems().front());
      const std::string fault = fault_of(stage, 2);
      REQUIRE_MESSAGE(fault.empty(), s->program.name << ": " << fault);
    }
  }
}

TEST_CASE("plans with states on other tiers do so too") {
  for (std::size_t number = 0; number < 150; ++number) {
    const toy::Case c = toy::offloaded(number);
    INFO("draw " << number << ": " << toy::describe(c));
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    std::vector<const plan::Scheduled*> programs{&plan.train};
    if (plan.evaluate) programs.push_back(&*plan.evaluate);
    for (const plan::Scheduled* s : programs) {
      Stage stage(*s, s->waits, 2);
      REQUIRE_MESSAGE(stage.problems().empty(), stage.problems().front());
      const std::string fault = fault_of(stage, 1);
      REQUIRE_MESSAGE(fault.empty(), s->program.name << ": " << fault);
    }
  }
}

TEST_CASE("plans that lose one wait are caught by acting them out") {
  std::size_t removed = 0;
  for (std::size_t number = 1; number < toy::cases; number += 307) {
    toy::Case c = toy::numbered(number);
    c.layers = 1;
    c.world = 2;
    INFO(toy::describe(c));
    const plan::Plan plan = plan::make_plan(toy::setup(c));
    for (std::size_t w = 0; w < plan.train.waits.size(); ++w, ++removed) {
      std::vector<plan::Wait> fewer = plan.train.waits;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(w));
      Stage stage(plan.train, fewer, 3);
      CHECK_MESSAGE(!fault_of(stage, 40).empty(),
                    "step " << plan.train.waits[w].step << " on " << plan.train.waits[w].on);
    }
  }
  CHECK(removed > 100);
}

}  // namespace sherd
