#include "sherd/launch/saving.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "launch/publisher.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"

namespace sherd::launch {
namespace {

constexpr double assumed_rate = 1e9;  // bytes a second, before anything was measured
constexpr double least_part = 100;    // of a run's time that auto leaves to training, per save

}  // namespace

Saving::Saving(Parts parts)
    : parts_(std::move(parts)),
      store_(parts_.storage, parts_.config.save),
      every_(*checkpoint::parse_save_every(parts_.config.save_every)),
      cost_(static_cast<double>(parts_.engine.saving()->bytes()) / assumed_rate),
      last_(Clock::now()) {
  parts_.engine.saving()->count_in(
      parts_.control.ranks[static_cast<std::size_t>(parts_.rank)].written);
  if (parts_.rank == 0)
    publisher_ = std::make_unique<Publisher>(parts_.control, store_, parts_.config.keep);
}

Saving::~Saving() = default;

bool Saving::idle() const { return parts_.control.published.load() >> 1 == attempt_; }

bool Saving::due() const {
  if (!every_.automatic) return every_.steps > 0 && (parts_.engine.steps() + 1) % every_.steps == 0;
  const double interval = std::max(checkpoint::best_interval(cost_, parts_.config.failures_per_day),
                                   least_part * cost_);
  return std::chrono::duration<double>(Clock::now() - last_).count() >= interval;
}

bool Saving::has_room() {
  const std::int64_t room = parts_.storage.room(store_.root());
  const Bytes need =
      parts_.engine.saving()->bytes() * static_cast<Bytes>(parts_.world) + checkpoint::block_bytes;
  if (room < 0 || static_cast<Bytes>(room) >= need) return true;
  log::warn(fmt::format("step {}: not saved, {} has {} free and a checkpoint takes {}",
                        parts_.engine.steps() + 1, store_.root(),
                        format_bytes(static_cast<Bytes>(room)), format_bytes(need)));
  return false;
}

bool Saving::wish() {
  if (parts_.rank != 0) return false;
  const std::uint64_t requests = parts_.control.save_requests.load();
  owed_ = owed_ || due() || requests != heard_;
  heard_ = requests;
  if (!owed_) return false;
  if (!idle() && every_.automatic) return false;  // at a later step
  owed_ = has_room();                             // tried again when the next is due
  if (!owed_) last_ = Clock::now();
  return owed_;
}

// Here all ranks may wait for a slow disk, as none is in a collective: they leave together.
void Saving::begin() {
  const Clock::time_point start = Clock::now();
  settle();
  const Patience patience(parts_.control, "a checkpoint's file");
  // Its thread may not have left the last file's report yet.
  patience.until([&] {
    return parts_.engine.saving()->progress() != checkpoint::FileWriter::Progress::writing;
  });
  const std::uint64_t attempt = ++attempt_;
  checkpoint::Manifest manifest = parts_.manifest;
  manifest.progress = parts_.engine.progress();
  saved_step_ = manifest.progress.step;
  const std::string draft = store_.draft(manifest.progress.step, attempt);
  parts_.engine.save(draft, reporter(attempt, draft));
  const auto copied = [](comm::RankRecord & rank) -> auto& { return rank.copied; };
  copied(parts_.control.ranks[static_cast<std::size_t>(parts_.rank)]).store(attempt);
  for (int rank = 0; rank < parts_.world; ++rank) {
    auto& record = parts_.control.ranks[static_cast<std::size_t>(rank)];
    patience.until([&] { return copied(record).load() >= attempt; });
  }
  last_ = Clock::now();
  cost_ = std::chrono::duration<double>(last_ - start).count();
  owed_ = false;
  if (publisher_) publisher_->expect({attempt, draft, std::move(manifest), cost_, last_});
}

// It may be called when this is gone: a run that fails ends its writer last.
checkpoint::FileWriter::Settled Saving::reporter(std::uint64_t attempt, const std::string& draft) {
  const auto store = std::make_shared<checkpoint::Store>(parts_.storage, store_.root());
  return [=, &control = parts_.control, rank = parts_.rank](const checkpoint::FileWriter& writer) {
    std::string problem = writer.problem();
    if (problem.empty()) {
      try {
        store->put_part(draft, rank, writer.contents());
      } catch (const std::exception& error) {
        problem = error.what();
      }
    }
    if (!problem.empty()) warn_of_save(control, attempt, problem);
    const std::uint64_t good = problem.empty() ? 1 : 0;
    control.ranks[static_cast<std::size_t>(rank)].saved.store(2 * attempt + good);
  };
}

std::optional<Saved> Saving::news() { return publisher_ ? publisher_->news() : std::nullopt; }

void Saving::settle() {
  const Patience patience(parts_.control, "the checkpoint of other ranks");
  patience.until([&] { return idle(); });
}

void Saving::finish() {
  settle();
  const std::uint64_t now = parts_.engine.steps();
  const auto saved = [&] { return attempt_ > 0 && (parts_.control.published.load() & 1) != 0; };
  if (parts_.at == now && attempt_ == 0) return;
  if (saved() && saved_step_ == now) return;
  begin();
  settle();
  if (!saved())
    throw DeviceError(fmt::format("the checkpoint of the last step, {}, could not be saved in {}",
                                  now, store_.root()));
}

}  // namespace sherd::launch
