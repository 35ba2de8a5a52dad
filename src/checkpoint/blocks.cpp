#include "checkpoint/blocks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/io/checksum.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::checkpoint {

Checkpoint::Blocks::Blocks(io::Storage& storage, const std::string& folder,
                           const std::vector<FileEntry>& files)
    : entries_(files) {
  for (const FileEntry& file : files) {
    const bool whole = file.size % io::direct_block == 0;
    files_.push_back(io::open_stored(storage, folder + "/" + file.name,
                                     whole ? io::Cache::past : io::Cache::through));
    if (const Bytes size = files_.back().size(); size != file.size)
      throw DataError(
          fmt::format("{}: got {} bytes, need {}", files_.back().path(), size, file.size));
    room_ = std::max(room_, std::min(file.size, at_once * block_bytes));
  }
}

Checkpoint::Blocks::~Blocks() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  wishes_.notify_all();
  arrivals_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Checkpoint::Blocks::copy(std::uint32_t file, std::uint64_t block, Bytes first,
                              std::span<std::byte> into) {
  std::unique_lock lock(mutex_);
  const Handle run = want(file, block / at_once);
  ++run->callers;
  if (entries_[file].blocks.size() > at_once) {
    start_threads();
    want_ahead(*run);
  } else if (run->state == Run::State::wanted) {  // all there is: no threads for that
    std::erase(wanted_, run);
    run->state = Run::State::moving;
    lock.unlock();
    fetch(*run);
    check(*run);
    lock.lock();
    run->state = Run::State::checked;
    news_.notify_all();
  }
  news_.wait(lock, [&] { return run->state == Run::State::checked; });
  const std::uint64_t in_run = block % at_once;
  const std::string problem = run->problems[in_run];
  lock.unlock();
  if (problem.empty())
    std::memcpy(into.data(), run->memory.bytes().data() + in_run * block_bytes + first,
                into.size());
  lock.lock();
  --run->callers;
  run->copied += into.size();
  if (held_.size() > most) {
    if (const auto oldest = std::ranges::find_if(held_, idle); oldest != held_.end()) drop(oldest);
  }
  if (!problem.empty()) throw DataError(problem);
}

void Checkpoint::Blocks::start_threads() {
  while (threads_.size() < readers + 1) {
    const Work work = threads_.empty() ? Work::check : Work::fetch;
    threads_.emplace_back([this, work] { serve(work); });
  }
}

bool Checkpoint::Blocks::idle(const Handle& run) {
  return run->callers == 0 && run->state != Run::State::moving;
}

// What was copied whole goes first: its memory is still in the cache.
Checkpoint::Blocks::Held::iterator Checkpoint::Blocks::replaceable() {
  const auto done = std::ranges::find_if(
      held_, [&](const Handle& run) { return idle(run) && run->copied >= bytes_of(*run).size(); });
  if (done != held_.end() || held_.size() < most) return done;
  return std::ranges::find_if(held_, idle);
}

Checkpoint::Blocks::Handle Checkpoint::Blocks::want(std::uint32_t file, std::uint64_t number) {
  const auto known = std::ranges::find_if(
      held_, [&](const Handle& run) { return run->file == file && run->number == number; });
  if (known != held_.end()) {
    std::rotate(known, known + 1, held_.end());
    return held_.back();
  }
  auto made = std::make_shared<Run>();
  made->file = file;
  made->number = number;
  if (const auto old = replaceable(); old != held_.end()) {
    made->memory = std::move((*old)->memory);
    drop(old);
  } else {
    made->memory = memory::Arena::anonymous(room_);
  }
  held_.push_back(made);
  wanted_.push_back(made);
  wishes_.notify_one();
  return made;
}

void Checkpoint::Blocks::want_ahead(const Run& of) {
  const std::uint64_t runs = ceil_div(entries_[of.file].blocks.size(), at_once);
  for (std::uint64_t next = of.number + 1; next < std::min(runs, of.number + 1 + ahead); ++next) {
    if (held_.size() < most || std::ranges::any_of(held_, idle)) (void)want(of.file, next);
  }
}

void Checkpoint::Blocks::drop(Held::iterator run) {
  std::erase(wanted_, *run);
  held_.erase(run);
}

std::span<std::byte> Checkpoint::Blocks::bytes_of(const Run& run) const {
  const Bytes left = entries_[run.file].size - run.number * at_once * block_bytes;
  return run.memory.bytes().first(std::min(at_once * block_bytes, left));
}

void Checkpoint::Blocks::fetch(Run& run) const {
  try {
    files_[run.file].read(run.number * at_once * block_bytes, bytes_of(run));
  } catch (const DataError& error) {
    run.unread = error.what();
  }
}

void Checkpoint::Blocks::check(Run& run) const {
  const std::span<std::byte> bytes = bytes_of(run);
  run.problems.assign(ceil_div(bytes.size(), block_bytes), run.unread);
  if (!run.unread.empty()) return;
  for (std::size_t i = 0; i < run.problems.size(); ++i) {
    const std::uint64_t number = run.number * at_once + i;
    const Bytes first = number * block_bytes;
    const auto block =
        bytes.subspan(i * block_bytes, std::min(block_bytes, bytes.size() - i * block_bytes));
    const std::uint32_t got = io::crc32c(block), need = entries_[run.file].blocks[number];
    if (got != need)
      run.problems[i] = fmt::format(
          "{}: bytes {} to {} are not as they were written (CRC32C {:08x}, need {:08x})",
          files_[run.file].path(), first, first + block.size(), got, need);
  }
}

void Checkpoint::Blocks::serve(Work work) {
  const bool fetches = work == Work::fetch;
  Held& queue = fetches ? wanted_ : read_;
  std::unique_lock lock(mutex_);
  for (;;) {
    (fetches ? wishes_ : arrivals_).wait(lock, [&] { return ending_ || !queue.empty(); });
    if (ending_) return;
    const Handle now = std::move(queue.front());
    queue.pop_front();
    now->state = Run::State::moving;
    lock.unlock();
    fetches ? fetch(*now) : check(*now);
    lock.lock();
    if (fetches) {
      read_.push_back(now);
      arrivals_.notify_one();
    } else {
      now->state = Run::State::checked;
      news_.notify_all();
    }
  }
}

}  // namespace sherd::checkpoint
