// Disks that fail in the middle of real steps: each kind of disk step is hit on one rank, and the
// run has to end everywhere with the cause that came first.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>

#include "io/engines.hpp"
#include "io/faulty_system.hpp"
#include "io/temp_folder.hpp"
#include "support/awkward_gpt2.hpp"
#include "support/faulty_transfer.hpp"
#include "support/thread_ranks.hpp"

using namespace sherd;
using namespace sherd::test;
using io::Direction;

namespace {

/// What a transfer is for, from the buffer of its record and how often that was touched before.
enum class Disk {
  load,
  fetch_params,
  evict_grads,
  fetch_grads,
  fetch_moments,
  evict_moments,
  hash
};

struct Spot {
  Disk kind;
  std::string name;
  Direction direction;
  const char* buffer;  // its name begins so
  int nth = 1;         // access of that direction to the record
};
const Spot spots[] = {
    {Disk::load, "weights are written", Direction::write, "p."},
    {Disk::fetch_params, "parameters are fetched", Direction::read, "p."},
    {Disk::evict_grads, "gradients are evicted", Direction::write, "g."},
    {Disk::fetch_grads, "gradients are fetched", Direction::read, "g."},
    {Disk::fetch_moments, "moments are fetched", Direction::read, "v["},
    {Disk::evict_moments, "moments are evicted", Direction::write, "v[", 2},
    {Disk::hash, "the hash is taken", Direction::read, "p."},
};

struct Fault {
  std::string name;
  TransferFault fault;
  int code;
  Bytes place = 0;
};
const Fault on_read[] = {{"EIO", TransferFault::fail_read, 5},
                         {"a flipped bit", TransferFault::flip_read, 4, 4100}};
const Fault on_write[] = {{"ENOSPC", TransferFault::fail_write, 5},
                          {"a flipped bit", TransferFault::flip_write, 4, 4100},
                          {"a torn record", TransferFault::tear_write, 4, 4096},
                          {"a lost write", TransferFault::drop_write, 4}};

/// Which bytes of a rank's file hold which state.
struct Map {
  struct Part {
    std::string name;
    Bytes first, end;
  };
  std::vector<Part> parts;

  explicit Map(const plan::Scheduled& train) {
    for (std::size_t b = 0; b < train.program.buffers.size(); ++b) {
      const plan::Buffer& buffer = train.program.buffers[b];
      if (buffer.tier == memory::Tier::file)
        parts.push_back({buffer.name, train.at[b].offset, train.at[b].offset + buffer.size});
    }
  }
  [[nodiscard]] std::string at(Bytes offset) const {
    for (const Part& part : parts) {
      if (part.first <= offset && offset < part.end) return part.name;
    }
    return "nothing";
  }
};

class Borrowed final : public io::Transfer {
 public:
  explicit Borrowed(io::Transfer& of) : of_(of) {}
  void read(Bytes offset, std::span<std::byte> into, io::Passing* passing) override {
    of_.read(offset, into, passing);
  }
  void write(Bytes offset, std::span<const std::byte> from, io::Passing* passing) override {
    of_.write(offset, from, passing);
  }
  [[nodiscard]] std::string name() const override { return of_.name(); }

 private:
  io::Transfer& of_;
};

/// Goes wrong once, in the first transfer that `picks`; remembers where that was.
class PickedTransfer final : public io::Transfer {
 public:
  using Picks = std::function<bool(Direction, Bytes offset)>;
  PickedTransfer(std::unique_ptr<io::Transfer> inner, FaultPlan plan, Picks picks, Bytes& hit)
      : inner_(std::move(inner)),
        faulty_(std::make_unique<Borrowed>(*inner_), std::move(plan)),
        picks_(std::move(picks)),
        hit_(hit) {}
  void read(Bytes offset, std::span<std::byte> into, io::Passing* passing) override {
    of(Direction::read, offset).read(offset, into, passing);
  }
  void write(Bytes offset, std::span<const std::byte> from, io::Passing* passing) override {
    of(Direction::write, offset).write(offset, from, passing);
  }
  [[nodiscard]] std::string name() const override { return inner_->name(); }

 private:
  io::Transfer& of(Direction direction, Bytes offset) {
    if (done_ || !picks_(direction, offset)) return *inner_;
    done_ = true;
    hit_ = offset;
    return faulty_;
  }
  std::unique_ptr<io::Transfer> inner_;
  FaultyTransfer faulty_;
  Picks picks_;
  Bytes& hit_;
  bool done_ = false;
};

constexpr Bytes nowhere = ~Bytes{0};

launch::RunConfig config_of(int world, plan::Overlap overlap, const std::string& folder) {
  launch::RunConfig config = awkward_config(world);
  config.sharding.zero_stage = world > 1 ? 3 : 0;
  config.sharding.overlap = overlap;
  config.sharding.bucket_bytes = 60 * kib;
  config.batch.grad_accum = 2;
  config.memory.offload_params = plan::Offload::file;
  config.memory.offload_grads = plan::OffloadOr::file;
  config.memory.offload_moments = plan::OffloadOr::file;
  config.memory.offload_tile = 4096;
  config.file_tier.offload_dir = folder;
  config.file_tier.offload_dir_any = true;
  config.ranks.timeout = 30;  // no fault here is found by waiting
  return config;
}

std::unique_ptr<io::Transfer> engine_of(const launch::RunConfig& config, Rank rank, Bytes size) {
  return io::transfer_by(config.file_tier.io_engine,
                         io::OpenFile(config.file_tier.offload_dir, rank, size, io::system_calls()),
                         io::system_calls());
}

struct Ended {
  Ending ending;
  std::string hit;     // the buffer whose record it was
  Bytes at = nowhere;  // in the victim's file
};

/// Trains and hashes; `fault` strikes at `spot` on `victim`.
Ended struck(const launch::RunConfig& config, const Spot& spot, const Fault& fault, Rank victim) {
  std::unique_ptr<Map> map;
  Bytes hit = nowhere;
  std::atomic<bool> hashing{false};
  std::map<Bytes, int> touched;
  const auto picks = [&](Direction direction, Bytes offset) {
    if (direction != spot.direction || !map->at(offset).starts_with(spot.buffer)) return false;
    if (spot.kind == Disk::hash) return hashing.load();
    return ++touched[offset] == spot.nth;
  };
  ThreadRun run{.config = config, .job = [](Rank) { return awkward_job(awkward_gpt2(), 18); }};
  run.adjust = [&](plan::Plan& plan, Rank rank) {
    if (rank == victim) map = std::make_unique<Map>(plan.train);
  };
  run.make_file = [&](Rank rank, Bytes size) {
    std::unique_ptr<io::Transfer> transfer = engine_of(config, rank, size);
    if (rank == victim)
      transfer = std::make_unique<PickedTransfer>(
          std::move(transfer), FaultPlan{.fault = fault.fault, .place = fault.place}, picks, hit);
    return std::make_unique<io::RecordFile>(std::move(transfer),
                                            "file of rank " + std::to_string(rank));
  };
  ThreadRanks ranks(run);
  Ended ended{ranks.run([&](ThreadRank& seat) {
                while (seat.engine.steps() < seat.prepared.steps) seat.engine.step();
                seat.engine.drain();
                if (seat.rank == victim) hashing = true;
                static_cast<void>(seat.engine.parameters_hash());
              }),
              {},
              hit};
  if (hit != nowhere) ended.hit = map->at(hit);
  return ended;
}

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
}
int code_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return exit_code(e);
  }
}
bool is_comm_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const CommError&) {
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void check(const Ended& ended, const Fault& fault, Rank victim) {
  REQUIRE(ended.at != nowhere);
  const auto& thrown = ended.ending.thrown;
  const std::exception_ptr own = thrown[static_cast<std::size_t>(victim)];
  REQUIRE(own);
  const std::string text = text_of(own), operation = fault.code == 4 ? "record of" : "cannot be ";
  INFO(text);
  CHECK(code_of(own) == fault.code);
  for (const std::string& named :
       {"file of rank " + std::to_string(victim), ended.hit, std::string(" tile "),
        "at byte " + std::to_string(ended.at), operation})
    CHECK(text.find(named) != std::string::npos);
  CHECK(ended.ending.cause == "rank " + std::to_string(victim) + ": " + text);
  for (std::size_t rank = 0; rank < thrown.size(); ++rank) {
    if (rank == static_cast<std::size_t>(victim)) continue;
    REQUIRE(thrown[rank]);
    CHECK(is_comm_error(thrown[rank]));
    CHECK(text_of(thrown[rank]).find(text) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a disk that fails in any kind of step ends every rank with what failed, and where") {
  const TempFolder folder{std::filesystem::current_path()};
  for (const int world : {1, 3}) {
    for (const auto overlap : {plan::Overlap::off, plan::Overlap::on}) {
      for (const Spot& spot : spots) {
        const bool reads = spot.direction == Direction::read;
        const std::span<const Fault> faults = reads ? std::span<const Fault>(on_read) : on_write;
        for (const Fault& fault : faults) {
          INFO(fault.name << " where " << spot.name << ", world " << world << ", overlap "
                          << static_cast<int>(overlap));
          const Rank victim = world - 1;
          check(struck(config_of(world, overlap, folder.path()), spot, fault, victim), fault,
                victim);
          CHECK(std::filesystem::is_empty(folder.path()));
        }
      }
    }
  }
}

TEST_CASE("what the system says below the engines ends the run, or is made good") {
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig config = config_of(3, plan::Overlap::on, folder.path());
  std::optional<std::string> expected;
  for (const auto engine : {io::IoEngine::threads, io::IoEngine::automatic}) {
    config.file_tier.io_engine = engine;
    const auto end_on = [&](FaultySystem& system, std::string& hash) {
      ThreadRun run{.config = config, .job = [](Rank) { return awkward_job(awkward_gpt2(), 18); }};
      run.make_file = [&](Rank rank, Bytes size) {
        io::SystemCalls& calls = rank == 1 ? system : io::system_calls();
        return io::make_record_file(config.file_tier, rank, size, calls);
      };
      ThreadRanks ranks(run);
      return ranks.run([&](ThreadRank& seat) {
        while (seat.engine.steps() < seat.prepared.steps) seat.engine.step();
        const std::string own = seat.engine.parameters_hash();
        if (seat.rank == 0) hash = own;
      });
    };
    FaultySystem little;  // a block at a time
    little.grant = [](Direction, Bytes, std::size_t bytes) {
      return std::min<std::size_t>(bytes, io::direct_block);
    };
    std::string hash;
    CHECK(end_on(little, hash).cause.empty());
    if (!expected) expected = hash;
    CHECK(hash == *expected);
    struct Answer {
      Direction direction;
      int answer;
      const char* said;
    };
    for (const Answer& a :
         {Answer{Direction::read, -EIO, "read"}, Answer{Direction::read, 0, "read"},
          Answer{Direction::write, -ENOSPC, "written"}, Answer{Direction::write, 0, "written"}}) {
      INFO(a.said << ", answer " << a.answer);
      FaultySystem bad;
      std::atomic<int> calls{0};
      bad.answer = [&](Direction direction, Bytes, int said) {
        return direction == a.direction && ++calls >= 50 ? a.answer : said;
      };
      const Ending ending = end_on(bad, hash);
      REQUIRE(ending.thrown[1]);
      INFO(text_of(ending.thrown[1]));
      CHECK(code_of(ending.thrown[1]) == 5);
      CHECK(ending.cause == "rank 1: " + text_of(ending.thrown[1]));
      for (const char* named : {"file of rank 1", " tile ", a.said, folder.path().c_str()})
        CHECK(ending.cause.find(named) != std::string::npos);
    }
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

namespace {

/// Transfers of several ranks, each let in when `may` says so; `counts` of them are by rank.
class Turnstile {
 public:
  using Counts = std::vector<std::uint64_t>;
  using May = std::function<bool(Rank, const Counts&)>;
  Turnstile(int world, May may) : passed_(static_cast<std::size_t>(world)), may_(std::move(may)) {}

  void pass(Rank rank) {
    std::unique_lock lock(mutex_);
    // Nothing here is found by waiting; a run that hangs fails instead.
    const bool let =
        news_.wait_for(lock, std::chrono::seconds(60), [&] { return may_(rank, passed_); });
    if (!let) throw DeviceError("a transfer was never let in");
    ++passed_[static_cast<std::size_t>(rank)];
    news_.notify_all();
  }
  /// What `may` looks at changes by `change(counts)`.
  template <class Change>
  void tell(Change&& change) {
    const std::lock_guard lock(mutex_);
    change(passed_);
    news_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable news_;
  Counts passed_;
  May may_;
};

/// Where a test looks in.
struct Looks {
  std::function<void(ThreadRank&)> started{}, stepped{};
  std::function<void()> fed{};  // a sample
};

class WatchedTokens final : public data::Source {
 public:
  explicit WatchedTokens(std::function<void()> fed) : fed_(std::move(fed)) {}
  std::uint64_t samples() const override { return tokens_.samples(); }
  data::SampleShape shape() const override { return tokens_.shape(); }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    fed_();
    tokens_.read(sample, inputs, labels);
  }
  std::uint64_t fingerprint() const override { return tokens_.fingerprint(); }

 private:
  MadeTokens tokens_{18};
  std::function<void()> fed_;
};

std::string hash_through(const launch::RunConfig& config, Turnstile& turnstile,
                         const Looks& looks = {}) {
  ThreadRun run{.config = config, .job = [&](Rank) {
                  launch::Job job = awkward_job(awkward_gpt2(), 18);
                  if (looks.fed) job.train = std::make_unique<WatchedTokens>(looks.fed);
                  return job;
                }};
  run.make_file = [&](Rank rank, Bytes size) {
    FaultPlan plan;
    plan.before = [&turnstile, rank] { turnstile.pass(rank); };
    return std::make_unique<io::RecordFile>(
        std::make_unique<FaultyTransfer>(engine_of(config, rank, size), std::move(plan)), "slow");
  };
  ThreadRanks ranks(run);
  std::string hash;
  const auto check_tiers = [](const ThreadRank& seat) {
    for (std::size_t tier = 0; tier < memory::tiers; ++tier) {
      const memory::TierUse use = seat.engine.ledger().measured(static_cast<memory::Tier>(tier));
      CHECK(use.arena == seat.prepared.plan.memory.arena[tier]);
      CHECK(use.peak == seat.prepared.plan.memory.peak[tier]);
    }
  };
  rethrow(ranks.run([&](ThreadRank& seat) {
    if (looks.started) looks.started(seat);
    while (seat.engine.steps() < seat.prepared.steps) {
      seat.engine.step();
      check_tiers(seat);
      if (looks.stepped) looks.stepped(seat);
    }
    const std::string own = seat.engine.parameters_hash();
    check_tiers(seat);
    if (seat.rank == 0) hash = own;
  }));
  return hash;
}

}  // namespace

TEST_CASE(
    "ranks whose disks wait for each other in any order give the same bits in planned memory") {
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig here = config_of(3, plan::Overlap::on, folder.path());
  for (const auto overlap : {plan::Overlap::on, plan::Overlap::off}) {
    here.sharding.overlap = overlap;
    Turnstile open(3, [](Rank, const auto&) { return true; });
    const std::string expected = hash_through(here, open);
    // The last, the first or the middle rank is always ahead; or all go in turn.
    for (const std::array<Rank, 3>& order : {std::array{2, 1, 0}, {0, 1, 2}, {1, 2, 0}}) {
      const auto place = [&](Rank rank) {
        return std::find(order.begin(), order.end(), rank) - order.begin();
      };
      Turnstile ahead(3, [&](Rank rank, const Turnstile::Counts& passed) {
        const auto at = place(rank);
        if (at == 0) return true;
        const auto before = static_cast<std::size_t>(order[static_cast<std::size_t>(at - 1)]);
        return passed[before] > passed[static_cast<std::size_t>(rank)];
      });
      CHECK(hash_through(here, ahead) == expected);
    }
  }
}

TEST_CASE("a step is done before a disk has moved what its updates need, and the next one waits") {
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig config = config_of(1, plan::Overlap::on, folder.path());
  config.precision.precision = optim::Precision::bf16;
  config.memory.offload_master = plan::OffloadOr::host;
  config.memory.offload_params = plan::Offload::host;
  config.memory.offload_grads = plan::OffloadOr::host;
  config.batch.grad_accum = 1;
  Turnstile open(1, [](Rank, const auto&) { return true; });
  const std::string expected = hash_through(config, open);
  // What step s moves is let in once samples of step s + 1 are read, or no step follows.
  std::uint64_t at_start = 0, a_step = 0, samples = 0;
  bool started = false, ended = false;
  Turnstile late(1, [&](Rank, const Turnstile::Counts& passed) {
    if (!started || ended) return true;
    const std::uint64_t step = (passed[0] - at_start) / a_step;  // from 0
    return samples > 2 * (step + 1);
  });
  Looks looks;
  looks.started = [&](ThreadRank& seat) {
    for (const plan::Step& step : seat.prepared.plan.train.program.steps)
      a_step += step.lane == device::Lane::disk ? 1U : 0U;
    REQUIRE(a_step > 0);
    late.tell([&](const Turnstile::Counts& passed) { at_start = passed[0], started = true; });
  };
  looks.stepped = [&](ThreadRank& seat) {
    late.tell([&](const Turnstile::Counts& passed) {
      const std::uint64_t done = seat.engine.steps();
      CHECK(passed[0] <= at_start + (done - 1) * a_step);
      ended = done == seat.prepared.steps;
    });
  };
  looks.fed = [&] { late.tell([&](const Turnstile::Counts&) { ++samples; }); };
  CHECK(hash_through(config, late, looks) == expected);
}
