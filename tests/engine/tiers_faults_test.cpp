// Disks that fail in the middle of real steps: each kind of disk step is hit on one rank, and the
// run has to end everywhere with the cause that came first.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <memory>

#include "io/engines.hpp"
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
