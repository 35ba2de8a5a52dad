// Every image a crash can leave of a save, looked at by the code that resumes.
#include <doctest/doctest.h>

#include <cstdlib>
#include <set>
#include <unordered_set>

#include "checkpoint/small_save.hpp"
#include "sherd/checkpoint/latest.hpp"
#include "support/crash_images.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

const std::string root = "/disk/save";
using Saved = std::pair<std::uint64_t, std::uint64_t>;  // step and seed

/// What a save did, and what may be found after a crash in it.
struct Scenario {
  Tree before, after;
  std::vector<Change> changes;
  std::size_t published = 0;  // changes until the save had returned
  std::set<Saved> old;        // one of these before; empty: there may be none
  Saved now;                  // or this, and only this once it is published
  std::size_t damaged = 0;    // visible folders that were never good
};

struct Tally {
  std::uint64_t images = 0, lost = 0, corrupt = 0, partial = 0, late = 0;
  [[nodiscard]] bool clean() const { return lost + corrupt + partial + late == 0; }
};

enum class Check : std::uint8_t { all, names_and_sizes };

/// What the recovery says of an image: the state it goes on from.
struct Answer {
  std::optional<Saved> saved;
  bool corrupt = false;
  std::size_t passed = 0;
};
Answer recovered(io::Storage& storage, Check check) {
  Answer answer;
  std::optional<checkpoint::Found> found;
  if (check == Check::all) {
    found =
        checkpoint::find_latest(storage, root, [&](const auto&, const auto&) { ++answer.passed; });
  } else {  // as if checksums were never looked at
    for (const checkpoint::Found& one : checkpoint::list(storage, root)) {
      try {
        const checkpoint::Checkpoint opened(storage, one.folder);
        found = one;
        break;
      } catch (const DataError&) {
        ++answer.passed;
      }
    }
  }
  if (!found) return answer;
  try {
    const checkpoint::Checkpoint opened(storage, found->folder);
    const std::optional<std::uint64_t> seed = seed_of(opened);
    answer.corrupt = !seed;
    answer.saved = Saved{found->step, seed.value_or(0)};
  } catch (const DataError&) {
    answer.corrupt = true;
  }
  return answer;
}

void judge(const Scenario& s, const Answer& answer, std::size_t made, Tally& tally) {
  if (answer.passed > s.damaged) ++tally.partial;
  if (answer.corrupt) {
    ++tally.corrupt;
  } else if (made >= s.published) {
    if (answer.saved != s.now) ++tally.late;
  } else if (answer.saved ? *answer.saved != s.now && !s.old.contains(*answer.saved)
                          : !s.old.empty()) {
    ++tally.lost;
  }
}

/// Visible folders that are not whole.
std::size_t half_removed(io::Storage& storage) {
  std::size_t bad = 0;
  for (const checkpoint::Found& one : checkpoint::list(storage, root)) {
    try {
      if (!checkpoint::Checkpoint(storage, one.folder).verify().empty()) ++bad;
    } catch (const DataError&) {
      ++bad;
    }
  }
  return bad;
}

/// Distinct images of a crash after each change until there are `most`, or no more.
Tally crashed(const Scenario& s, std::uint64_t most, Check check = Check::all) {
  const History history(s.before, s.after, s.changes);
  std::unordered_set<std::uint64_t> seen;
  Tally tally;
  const std::uint64_t share = std::clamp<std::uint64_t>(most / 40, 40, 500);  // of each moment
  std::vector<bool> dry(history.size() + 1);  // a moment of which little was new
  bool some = true;
  for (std::uint64_t round = 0; tally.images < most && some; ++round) {
    some = false;
    for (std::size_t made = 0; made <= history.size(); ++made) {
      if (dry[made]) continue;
      const std::uint64_t then = tally.images;
      history.crash(made, round, share, [&](Tree image) {
        // Whether it may lack what was published depends on when the crash was.
        if (!seen.insert(hash_of(image) * 2 + (made >= s.published ? 1 : 0)).second) return;
        ++tally.images;
        MemoryStorage storage(std::move(image));
        judge(s, recovered(storage, check), made, tally);
        if (made >= s.published && half_removed(storage) > s.damaged) ++tally.partial;
      });
      dry[made] = round > 0 && (tally.images - then) * 4 < share;
      some = some || !dry[made];
    }
  }
  return tally;
}

constexpr std::uint64_t few = SHERD_IMAGES < 10000 ? 500 : 2000;  // where any will do

std::uint64_t images_wanted() {
  const char* text = std::getenv("CRASH_IMAGES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : SHERD_IMAGES;
}

/// Lets no rank sync its file before all have written theirs: the most that can be lost at once.
class Together final : public MemoryStorage {
  std::int64_t before(std::string_view call, const std::string& path) override {
    if (call != "sync" || path.find("rank-") == path.npos) return 0;
    std::unique_lock lock(mutex_);
    const int round = come_++ / ranks;
    all_.notify_all();
    all_.wait(lock, [&] { return come_ >= (round + 1) * ranks; });
    return 0;
  }
  std::mutex mutex_;
  std::condition_variable all_;
  int come_ = 0;
};

/// A disk with an older checkpoint or none.
void prepare(MemoryStorage& storage, const std::vector<Saved>& older) {
  REQUIRE(storage.make_folder("/disk") == 0);
  if (older.empty()) return;
  checkpoint::Store store(storage, root);
  store.enter();
  for (const auto& [step, seed] : older) (void)save(store, step, seed);
}

Scenario recorded(const std::vector<Saved>& older, const Saved& now, std::size_t keep,
                  const std::string& damage = "") {
  Together storage;
  prepare(storage, older);
  if (!damage.empty()) storage.alter(damage, FileBytes(4096));
  Scenario s;
  s.damaged = damage.empty() ? 0 : 1;
  s.before = storage.tree();
  storage.forget();
  checkpoint::Store store(storage, root);
  store.enter();
  (void)save(store, now.first, now.second);
  s.published = storage.changes();
  if (keep > 0) store.keep(keep, now.first);
  s.changes = storage.journal();
  s.after = storage.tree();
  s.now = now;
  if (!older.empty()) s.old.insert(older.back());
  return s;
}

void check_clean(const std::string& what, const Scenario& s, std::uint64_t most) {
  const Tally tally = crashed(s, most);
  CAPTURE(what);
  CHECK(tally.lost == 0);
  CHECK(tally.corrupt == 0);
  CHECK(tally.partial == 0);
  CHECK(tally.late == 0);
  CHECK(tally.images >= most);
  MESSAGE(what << ": " << s.changes.size() << " changes, " << tally.images << " images, "
               << tally.lost << " lost, " << tally.corrupt << " corrupt accepted");
}

/// Nodes that were ever called so.
std::set<int> called(const Scenario& s, const std::string& part) {
  std::set<int> nodes;
  for (const Change& change : s.changes) {
    for (const auto& [name, node] : change.names) {
      if (node != 0 && name.find(part) != name.npos) nodes.insert(node);
    }
  }
  for (const auto& [number, node] : s.before.nodes) {
    const auto found = node.names.find(part);
    if (found != node.names.end()) nodes.insert(found->second);
  }
  return nodes;
}

Scenario without_sync(Scenario s, const std::string& of) {
  const std::set<int> nodes = called(s, of);
  REQUIRE(!nodes.empty());
  std::vector<Change> left;
  std::size_t published = 0;
  for (std::size_t i = 0; i < s.changes.size(); ++i) {
    if (i == s.published) published = left.size();
    if (s.changes[i].kind != Change::Kind::sync || !nodes.contains(s.changes[i].node))
      left.push_back(s.changes[i]);
  }
  REQUIRE(left.size() < s.changes.size());
  s.published = s.published == s.changes.size() ? left.size() : published;
  s.changes = std::move(left);
  return s;
}

}  // namespace

TEST_CASE("no crash image of a save loses a checkpoint or has a corrupt one accepted") {
  const std::uint64_t share = images_wanted() / 5;
  check_clean("the first save into a new folder", recorded({}, {2, 20}, 0), share);
  check_clean("a save after an older one, which goes", recorded({{1, 10}}, {2, 20}, 1), share);
  check_clean("a save after two, of which one goes", recorded({{1, 10}, {2, 20}}, {3, 30}, 2),
              share);
  check_clean("a save of a step that is there", recorded({{1, 10}, {2, 20}}, {2, 21}, 1), share);
  check_clean("a save below a damaged one, which keeps one",
              recorded({{9, 90}, {1, 10}}, {2, 20}, 1, root + "/step-000000000009/rank-001.bin"),
              share);
}

TEST_CASE("a save with any of its syncs left out does not survive") {
  const Scenario whole = recorded({{1, 10}}, {2, 20}, 0);
  CHECK(crashed(whole, few).clean());
  for (const char* left_out : {"rank-001.bin", "manifest.json", ".saving-", "save"}) {
    CAPTURE(left_out);
    const Tally tally = crashed(without_sync(whole, left_out), few);
    CHECK(tally.late > 0);
    CHECK(tally.corrupt == 0);
    CHECK(tally.lost == 0);  // the older one is still there
  }
}

TEST_CASE("a root whose own name is not synced does not survive") {
  const Tally tally = crashed(without_sync(recorded({}, {2, 20}, 0), "disk"), few);
  CHECK(tally.late > 0);
}

TEST_CASE("a rename before the syncs shows a checkpoint that is not whole") {
  Scenario s = recorded({{1, 10}}, {2, 20}, 0);
  const auto renames = [](const Change& c) { return c.names.size() == 2; };
  const auto rename = std::find_if(s.changes.begin(), s.changes.end(), renames);
  REQUIRE(rename != s.changes.end());
  const int folder = rename->node;
  std::vector<Change> moved{*rename, {.kind = Change::Kind::sync, .node = folder}};
  s.changes.erase(rename);
  const auto synced = std::find_if(s.changes.begin(), s.changes.end(), [&](const Change& c) {
    return c.kind == Change::Kind::sync && c.node != folder && !called(s, "disk").contains(c.node);
  });
  s.changes.insert(synced, moved.begin(), moved.end());
  s.published = s.changes.size();
  const Tally tally = crashed(s, few);
  CHECK(tally.partial > 0);
  CHECK(tally.corrupt == 0);
}

TEST_CASE("a reader that looks at no checksum accepts what a lost sync leaves") {
  const Scenario s = without_sync(recorded({{1, 10}}, {2, 20}, 0), "rank-001.bin");
  CHECK(crashed(s, 2000, Check::names_and_sizes).corrupt > 0);
  CHECK(crashed(s, few).corrupt == 0);
}

TEST_CASE("retention that removes the older one before the rename is synced loses both") {
  Scenario s = without_sync(recorded({{1, 10}}, {2, 20}, 1), "save");
  CHECK(crashed(s, few).late > 0);
}

TEST_CASE("a removal before it is durable that the folder is out of sight shows half of one") {
  Scenario s = recorded({{1, 10}}, {2, 20}, 1);
  const auto last = std::find_if(s.changes.rbegin(), s.changes.rend(),
                                 [](const Change& c) { return c.kind == Change::Kind::sync; });
  REQUIRE(s.changes.rend() - last > static_cast<std::ptrdiff_t>(s.published));
  s.changes.erase(std::next(last).base());
  CHECK(crashed(s, few).partial > 0);
}

TEST_CASE("a run that enters after a crash removes drafts and saves again") {
  const Scenario s = recorded({{1, 10}}, {2, 20}, 1);
  const History history(s.before, s.after, s.changes);
  for (std::size_t made = 0; made <= history.size(); ++made) {
    history.crash(made, 7, 3, [&](Tree image) {
      MemoryStorage storage(std::move(image));
      checkpoint::Store store(storage, root);
      store.enter();
      std::vector<std::string> names;
      REQUIRE(storage.list(root, names) == 0);
      for (const std::string& name : names) CHECK(name.starts_with("step-"));
      (void)save(store, 3, 30);
      store.keep(1, 3);
      CHECK(recovered(storage, Check::all).saved == Saved{3, 30});
      CHECK(storage.open_files() == 1);  // the folder it holds
    });
  }
}
