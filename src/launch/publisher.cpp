#include "launch/publisher.hpp"

#include <fmt/format.h>

#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"

namespace sherd::launch {

std::uint64_t Patience::written() const {
  std::uint64_t sum = 0;
  for (int rank = 0; rank < control_.world; ++rank)
    sum += control_.ranks[static_cast<std::size_t>(rank)].written.load(std::memory_order_relaxed);
  return sum;
}

void Patience::throw_late() const {
  throw DeviceError(
      fmt::format("{} did not come: nothing was written for {} minutes", what_, limit.count()));
}

void warn_of_save(comm::ControlBlock& control, std::uint64_t attempt, const std::string& problem) {
  std::uint64_t told = control.save_warned.load();
  while (told < attempt) {
    if (!control.save_warned.compare_exchange_weak(told, attempt)) continue;
    log::warn("a checkpoint could not be saved: " + problem + "; earlier ones are as they were");
    return;
  }
}

Saving::Publisher::Publisher(comm::ControlBlock& control, checkpoint::Store& store,
                             std::int64_t keep)
    : control_(control), store_(store), keep_(static_cast<std::size_t>(keep)) {
  thread_ = std::thread([this] { serve(); });
}

Saving::Publisher::~Publisher() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  news_.notify_all();
  thread_.join();
}

void Saving::Publisher::expect(Expected save) {
  {
    const std::scoped_lock lock(mutex_);
    expected_ = std::move(save);
  }
  news_.notify_all();
}

std::optional<Saved> Saving::Publisher::news() {
  const std::scoped_lock lock(mutex_);
  if (saved_.empty()) return {};
  Saved first = std::move(saved_.front());
  saved_.pop_front();
  return first;
}

void Saving::Publisher::serve() {
  for (;;) {
    Expected save;
    {
      std::unique_lock lock(mutex_);
      news_.wait(lock, [&] { return ending_ || expected_; });
      if (ending_ && !expected_) return;
      save = std::move(*expected_);
      expected_.reset();
    }
    std::uint64_t good = 0;
    try {
      if (!await_reports(save)) return;
      if (all_good(save)) {
        publish(save);
        good = 1;
      }
    } catch (const CommError&) {  // the run has ended
      return;
    } catch (const std::exception& error) {
      warn_of_save(control_, save.attempt, error.what());
    }
    if (good == 0) store_.discard(save.draft);
    control_.published.store(2 * save.attempt + good);
  }
}

// False where this rank's run has ended before: the others' reports may never come.
bool Saving::Publisher::await_reports(const Expected& save) {
  const Patience patience(control_, "a rank's part of a checkpoint");
  for (int rank = 0; rank < save.manifest.world; ++rank) {
    const auto& said = control_.ranks[static_cast<std::size_t>(rank)].saved;
    const auto reported = [&] { return said.load() >> 1 == save.attempt; };
    patience.until([&] { return reported() || ending(); });
    if (!reported()) return false;
  }
  return true;
}

bool Saving::Publisher::ending() {
  const std::scoped_lock lock(mutex_);
  return ending_;
}

bool Saving::Publisher::all_good(const Expected& save) const {
  for (int rank = 0; rank < save.manifest.world; ++rank) {
    if ((control_.ranks[static_cast<std::size_t>(rank)].saved.load() & 1) == 0) return false;
  }
  return true;
}

void Saving::Publisher::publish(const Expected& save) {
  Saved saved;
  saved.step = save.manifest.progress.step;
  saved.stall_seconds = save.stall;
  saved.folder = store_.publish(save.draft, save.manifest, saved.bytes);
  saved.commit_seconds = std::chrono::duration<double>(Clock::now() - save.copied).count();
  {
    const std::scoped_lock lock(mutex_);
    saved_.push_back(std::move(saved));
  }
  if (keep_ == 0) return;
  try {
    store_.keep(keep_, save.manifest.progress.step);
  } catch (const std::exception& error) {
    log::warn(std::string("an old checkpoint could not be removed: ") + error.what());
  }
}

}  // namespace sherd::launch
