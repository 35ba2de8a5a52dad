#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bench/checkpoint_rows.hpp"
#include "bench/plain_file.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/philox.hpp"
#include "sherd/bench/io.hpp"
#include "sherd/device/workers.hpp"
#include "sherd/io/record_file.hpp"
#include "sherd/memory/arena.hpp"

namespace sherd::bench {
namespace {

constexpr Bytes block = 4 * mib;    // of the direct calls
constexpr Bytes stride = 64 * kib;  // of stamps: what is written differs all over, at no cost
constexpr Bytes sizes[] = {4 * mib, 16 * mib};

Bytes area(const BenchOptions& options) { return (options.quick ? 64 : 512) * mib; }

/// Records in one file; each holds a pattern of its place with the number of its write in it.
class Records {
 public:
  Records(io::IoEngine engine, const std::string& folder, Bytes payload, Bytes total,
          std::span<std::byte> memory)
      : payload_(payload),
        count_(total / payload),
        file_(io::make_record_file({.offload_dir = folder, .io_engine = engine}, 0,
                                   count_ * io::record_bytes(payload))),
        memory_(memory.first(io::record_bytes(payload))) {}

  void write_all() {
    ++writes_;
    for (Bytes i = 0; i < count_; ++i) write(i);
  }
  void read_all() {
    for (Bytes i = 0; i < count_; ++i) read(i, writes_);
  }
  void update_all() {
    ++writes_;
    for (Bytes i = 0; i < count_; ++i) {
      read(i, writes_ - 1);
      write(i);
    }
  }
  void fill() {
    for (Bytes at = 0; at < payload_; at += sizeof at) put(at, mix(at));
  }
  // All bytes of all records, which takes longer than moving them.
  void check() {
    for (Bytes i = 0; i < count_; ++i) {
      read(i, writes_);
      bool same = true;
      for (Bytes at = 0; at < payload_; at += sizeof at)
        same &= found(at) == (at % stride == 0 ? stamp(i, at, writes_) : mix(at));
      wrong_ += same ? 0 : 1;
    }
  }
  [[nodiscard]] std::int64_t wrong() const { return wrong_; }
  [[nodiscard]] Bytes payload() const { return payload_; }
  [[nodiscard]] double bytes() const { return static_cast<double>(count_ * payload_); }
  [[nodiscard]] std::string engine() const { return file_->engine(); }

 private:
  [[nodiscard]] static std::uint64_t stamp(Bytes record, Bytes at, std::uint64_t number) {
    return mix(mix(record) ^ mix(at) ^ number);
  }
  void put(Bytes at, std::uint64_t word) {
    std::memcpy(memory_.data() + io::direct_block + at, &word, sizeof word);
  }
  [[nodiscard]] std::uint64_t found(Bytes at) const {
    std::uint64_t word = 0;
    std::memcpy(&word, memory_.data() + io::direct_block + at, sizeof word);
    return word;
  }
  void write(Bytes record) {
    for (Bytes at = 0; at < payload_; at += stride) put(at, stamp(record, at, writes_));
    file_->write(record * io::record_bytes(payload_), memory_, payload_, "a record");
  }
  // `number`: of the write that it must hold.
  void read(Bytes record, std::uint64_t number) {
    try {
      file_->read(record * io::record_bytes(payload_), memory_, payload_, "a record");
    } catch (const DataError&) {
      ++wrong_;
      return fill();
    }
    bool same = true;
    for (Bytes at = 0; at < payload_; at += stride) same &= found(at) == stamp(record, at, number);
    wrong_ += same ? 0 : 1;
  }

  Bytes payload_, count_;
  std::unique_ptr<io::RecordFile> file_;
  std::span<std::byte> memory_;
  std::uint64_t writes_ = 0;
  std::int64_t wrong_ = 0;
};

enum class Way { write, read, update };
constexpr const char* way_names[] = {"write", "read", "read+write"};

Pass pass_of(Way way, Records& records) {
  switch (way) {
    case Way::write:
      return [&] { records.write_all(); };
    case Way::read:
      return [&] { records.read_all(); };
    default:
      return [&] { records.update_all(); };
  }
}

/// What the disk does without records: by one thread in blocks it is fastest with, and by two, each
/// in its own half, as one thread does not keep every disk busy. Blocks go round `reach` bytes of
/// memory: what stays in the cache is moved faster.
class Direct {
 public:
  Direct(std::string folder, Bytes total, std::span<std::byte> memory)
      : folder_(std::move(folder)), total_(total), memory_(memory), workers_(2) {
    renew();
  }

  /// A file of which nothing was written yet.
  void renew() {
    file_.reset();
    file_.emplace(folder_, total_);
  }
  void by_one(Way way, Bytes reach) { sweep(way, 0, total_, memory_.first(reach)); }
  void by_two(Way way, Bytes reach) {
    const Bytes each = std::max(reach / 2, block);
    workers_.run(2, [&](std::int64_t half, int) {
      const auto at = static_cast<Bytes>(half);
      sweep(way, at * total_ / 2, total_ / 2, memory_.subspan(at * each, each));
    });
  }
  [[nodiscard]] const char* way() const { return file_->way(); }

 private:
  void sweep(Way way, Bytes first, Bytes size, std::span<std::byte> memory) const {
    for (Bytes done = 0; done < size; done += block) {
      const auto now = memory.subspan(done % memory.size(), block);
      if (way != Way::write) file_->read(first + done, now);
      if (way != Way::read) file_->write(first + done, now);
    }
  }
  std::string folder_;
  Bytes total_;
  std::optional<PlainFile> file_;
  std::span<std::byte> memory_;
  device::Workers workers_;
};

std::vector<std::unique_ptr<Records>> all_engines(const std::string& folder, Bytes payload,
                                                  Bytes total, std::span<std::byte> memory) {
  std::vector<std::unique_ptr<Records>> found;
  for (const io::IoEngine engine : {io::IoEngine::uring, io::IoEngine::threads}) {
    try {
      found.push_back(std::make_unique<Records>(engine, folder, payload, total, memory));
    } catch (const ConfigError&) {
      // The machine refuses io_uring: there is no such row.
    }
  }
  return found;
}

// Times that each byte goes through.
double moved(Way way) { return way == Way::update ? 2 : 1; }

Row row_of(Way way, const Records& records, const Timing& time) {
  Row row;
  row.name =
      fmt::format("io {} {}", way_names[static_cast<int>(way)], format_bytes(records.payload()));
  row.time = time;
  row.work = moved(way) * records.bytes();
  row.wrong = records.wrong();
  row.extra = {{"engine", records.engine()}, {"bytes", static_cast<std::int64_t>(records.bytes())}};
  return row;
}

// The same disk in the same run: a checkpoint goes through checks, syncs and a manifest. A save
// fills a new file, which is slower on disks that first have to find room for it.
void checkpoint_rows(const BenchOptions& options, const std::string& folder, Direct& direct,
                     std::vector<Row>& rows) {
  const memory::Arena memory = memory::Arena::anonymous(area(options));
  Checkpoints checkpoints(folder, memory.bytes());
  const std::vector<Pass> passes = {[&] { direct.renew(); },
                                    [&] { direct.by_one(Way::write, block); },
                                    [&] { direct.by_one(Way::write, block); },
                                    [&] { direct.renew(); },
                                    [&] { direct.by_two(Way::write, block); },
                                    [&] { checkpoints.remove(); },
                                    [&] { checkpoints.save(); },
                                    [&] { direct.by_one(Way::read, block); },
                                    [&] { direct.by_two(Way::read, block); },
                                    [&] { checkpoints.forget(); },
                                    [&] { checkpoints.load(); }};
  const std::vector<Timing> times = alternate(options.effective_rounds(), passes);
  const auto rate = [&](std::size_t pass) {
    return static_cast<double>(area(options)) / times[pass].median;
  };
  for (const bool saves : {true, false}) {
    Row row;
    row.name = saves ? "checkpoint save" : "checkpoint load";
    row.time = times[saves ? 6 : 10];
    row.work = static_cast<double>(area(options));
    row.wrong = checkpoints.wrong();
    row.bound_name = std::string(direct.way()) + " calls of 4 MiB" +
                     (saves ? " into a new file" : "") + ", 1 or 2 threads";
    row.bound = saves ? std::max(rate(1), rate(4)) : std::max(rate(7), rate(8));
    row.extra = {{"bytes", static_cast<std::int64_t>(area(options))}};
    if (saves) {
      row.extra.emplace_back("rewriting_gb_per_s", rate(2) / 1e9);
      row.extra.emplace_back("removal_seconds", times[5].median);
    }
    rows.push_back(std::move(row));
  }
}

}  // namespace

Bytes io_room(const BenchOptions& options) {
  const Bytes records = area(options) / sizes[0];
  return 5 * area(options) + 2 * records * io::direct_block;
}

std::vector<Row> io(const BenchOptions& options, const std::string& folder) {
  const Bytes total = area(options);
  // One for all, as disks are faster with some pages than with others.
  const memory::Arena memory = memory::Arena::anonymous(io::record_bytes(16 * mib));
  Direct direct(folder, total, memory.bytes());
  std::vector<Row> rows;
  for (const Bytes payload : sizes) {
    const auto engines = all_engines(folder, payload, total, memory.bytes());
    for (const Way way : {Way::write, Way::read, Way::update}) {
      std::vector<Pass> passes = {[&, way] { direct.by_one(way, payload); },
                                  [&, way] { direct.by_two(way, payload); }};
      for (const auto& records : engines) {
        passes.emplace_back([&] { records->fill(); });  // not timed with what follows
        passes.push_back(pass_of(way, *records));
      }
      const std::vector<Timing> times = alternate(options.effective_rounds(), passes);
      const double bound = std::min(times[0].median, times[1].median);
      for (std::size_t i = 0; i < engines.size(); ++i) {
        engines[i]->check();
        rows.push_back(row_of(way, *engines[i], times[2 * i + 3]));
        rows.back().bound_name = std::string(direct.way()) + " calls of 4 MiB, 1 or 2 threads";
        rows.back().bound = moved(way) * static_cast<double>(total) / bound;
      }
    }
  }
  checkpoint_rows(options, folder, direct, rows);
  return rows;
}

}  // namespace sherd::bench
