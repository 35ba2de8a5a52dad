// One system call of a save or a load fails, each in turn.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>

#include "checkpoint/small_save.hpp"
#include "sherd/checkpoint/latest.hpp"

using namespace sherd;
using namespace sherd::test;

namespace {

const std::string root = "/disk/save";
constexpr std::int64_t cut_short = 1;

/// Answers the `at`-th call itself.
class FailNth final : public MemoryStorage {
 public:
  explicit FailNth(Tree tree) : MemoryStorage(std::move(tree)) {}
  void fail(std::int64_t at, std::int64_t answer) {
    answer_ = answer;
    calls_ = 0;
    at_ = at;
  }
  [[nodiscard]] std::int64_t calls() const { return calls_; }
  /// "write of /disk/…": what failed.
  [[nodiscard]] std::string failed() const { return failed_; }

 private:
  std::int64_t before(std::string_view call, const std::string& path) override {
    if (calls_++ != at_) return 0;
    failed_ = std::string(call) + " of " + path;
    const bool moves = call == "read" || call == "write";
    return answer_ == cut_short && !moves ? 0 : answer_.load();
  }
  std::atomic<std::int64_t> calls_{0}, at_{-1}, answer_{0};
  std::string failed_;
};

Tree with_one_checkpoint() {
  MemoryStorage storage;
  REQUIRE(storage.make_folder("/disk") == 0);
  checkpoint::Store store(storage, root);
  store.enter();
  (void)save(store, 1, 10);
  return storage.tree();
}

std::optional<std::uint64_t> good_seed(io::Storage& storage, const std::string& folder) {
  try {
    const checkpoint::Checkpoint found(storage, folder);
    if (!found.verify().empty()) return {};
    return seed_of(found);
  } catch (const DataError&) {
    return {};
  }
}

/// What a run does to save once: its problem, or nothing.
struct Attempt {
  bool published = false, kept = false;
  std::string problem;
};
Attempt attempt(io::Storage& storage) {
  Attempt result;
  try {
    checkpoint::Store store(storage, root);
    store.enter();
    (void)save(store, 2, 20);
    result.published = true;
    result.kept = true;
    store.keep(1, 2);
  } catch (const ConfigError& error) {
    result.problem = error.what();
  } catch (const DataError& error) {
    result.problem = error.what();
  }
  return result;
}

void check_after(FailNth& storage, const Attempt& result, std::int64_t answer) {
  CHECK(storage.open_files() == 0);
  if (!result.problem.empty()) {
    CHECK(result.problem.find("/disk") != std::string::npos);
    if (answer != cut_short)
      CHECK(result.problem.find(std::strerror(static_cast<int>(-answer))) != std::string::npos);
  }
  // Retention alone may touch the older one, and only when the newer one is there.
  if (!result.kept) CHECK(good_seed(storage, root + "/step-000000000001") == 10u);
  if (result.published) CHECK(good_seed(storage, root + "/step-000000000002") == 20u);
  const auto found = checkpoint::find_latest(storage, root, [](const auto&, const auto& why) {
    FAIL_CHECK("a visible one is not whole: " << why);
  });
  REQUIRE(found);

  checkpoint::Store store(storage, root);
  store.enter();
  (void)save(store, 3, 30);
  store.keep(1, 3);
  std::vector<std::string> names;
  REQUIRE(storage.list(root, names) == 0);
  CHECK(names == std::vector<std::string>{"step-000000000003"});
  CHECK(good_seed(storage, root + "/step-000000000003") == 30u);
}

}  // namespace

TEST_CASE("a save of which any call fails harms nothing, and a later one works") {
  const Tree before = with_one_checkpoint();
  FailNth whole(before);
  REQUIRE(attempt(whole).problem.empty());
  const std::int64_t calls = whole.calls();
  REQUIRE(calls > 60);
  std::int64_t failed = 0;
  for (const std::int64_t answer : {std::int64_t{-EIO}, std::int64_t{-ENOSPC}, std::int64_t{-EINTR},
                                    std::int64_t{-EROFS}, cut_short}) {
    for (std::int64_t at = 0; at < calls; ++at) {
      FailNth storage(before);
      storage.fail(at, answer);
      const Attempt result = attempt(storage);
      INFO(storage.failed() << ": " << answer << ": " << result.problem);
      storage.fail(-1, 0);
      check_after(storage, result, answer);
      failed += result.problem.empty() ? 0 : 1;
    }
  }
  CHECK(failed > calls * 3);
}

TEST_CASE("a save whose step is there already replaces it or leaves it whatever fails") {
  const Tree before = with_one_checkpoint();
  const auto again = [](FailNth& storage) {
    try {
      checkpoint::Store store(storage, root);
      store.enter();
      (void)save(store, 1, 11);
      return std::string();
    } catch (const ConfigError& error) {
      return std::string(error.what());
    } catch (const DataError& error) {
      return std::string(error.what());
    }
  };
  FailNth whole(before);
  REQUIRE(again(whole).empty());
  const std::int64_t calls = whole.calls();
  for (std::int64_t at = 0; at < calls; ++at) {
    for (const std::int64_t answer : {std::int64_t{-EIO}, std::int64_t{-EINVAL}}) {
      FailNth storage(before);
      storage.fail(at, answer);
      const std::string problem = again(storage);
      INFO(storage.failed() << ": " << problem);
      storage.fail(-1, 0);
      const auto seed = good_seed(storage, root + "/step-000000000001");
      REQUIRE(seed);
      CHECK((*seed == 11 || (*seed == 10 && !problem.empty())));
      CHECK(storage.open_files() == 0);
    }
  }
}

TEST_CASE("a full disk fails a save, and room for it later saves") {
  FailNth storage(with_one_checkpoint());
  storage.set_room(6000);
  const Attempt result = attempt(storage);
  INFO(result.problem);
  CHECK(!result.published);
  CHECK(result.problem.find("rank-00") != std::string::npos);
  storage.set_room(mib);
  check_after(storage, result, -ENOSPC);
}

TEST_CASE("a load of which any call fails names what failed, and never gives other bytes") {
  FailNth storage(with_one_checkpoint());
  const std::string folder = root + "/step-000000000001";
  const auto load = [&] {
    const checkpoint::Checkpoint found(storage, folder);
    const auto problems = found.verify();
    if (!problems.empty()) throw DataError(problems.front());
    return seed_of(found);
  };
  storage.fail(-1, 0);
  REQUIRE(load() == 10u);
  const std::int64_t calls = storage.calls();
  REQUIRE(calls > 10);
  for (const std::int64_t answer : {std::int64_t{-EIO}, std::int64_t{-EINTR}, std::int64_t{-EACCES},
                                    std::int64_t{-EMFILE}, cut_short}) {
    for (std::int64_t at = 0; at < calls; ++at) {
      storage.fail(at, answer);
      std::string problem;
      try {
        const bool whole = load() == 10u;
        CHECK(whole);
      } catch (const DataError& error) {
        problem = error.what();
        CHECK(problem.find(folder + "/") != std::string::npos);
        CHECK(problem.find(std::strerror(static_cast<int>(-answer))) != std::string::npos);
      }
      INFO(storage.failed() << ": " << problem);
      CHECK(problem.empty() == (answer == cut_short || storage.failed().starts_with("close")));
      CHECK(storage.open_files() == 0);
    }
  }
}

TEST_CASE("a run that resumes passes over what cannot be read") {
  Tree two;
  {
    MemoryStorage storage(with_one_checkpoint());
    checkpoint::Store store(storage, root);
    store.enter();
    (void)save(store, 2, 20);
    two = storage.tree();
  }
  FailNth storage(two);
  const auto find = [&](std::vector<std::string>& passed) {
    return checkpoint::find_latest(
        storage, root, [&](const auto&, const std::string& why) { passed.push_back(why); });
  };
  std::vector<std::string> passed;
  storage.fail(-1, 0);
  REQUIRE(find(passed)->step == 2u);
  for (std::int64_t at = 1, calls = storage.calls(); at < calls; ++at) {
    storage.fail(at, -EIO);
    passed.clear();
    const auto found = find(passed);
    REQUIRE(found);
    INFO(storage.failed());
    CHECK(found->step == 2 - passed.size());
    for (const std::string& why : passed) CHECK(why.find("step-000000000002") != why.npos);
  }
}
