#include "sherd/checkpoint/store.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "checkpoint/small_save.hpp"
#include "io/temp_folder.hpp"
#include "sherd/checkpoint/latest.hpp"

using namespace sherd;
using namespace sherd::test;
using namespace sherd::checkpoint;
namespace fs = std::filesystem;

namespace {

std::vector<std::uint64_t> steps(io::Storage& storage, const std::string& root) {
  std::vector<std::uint64_t> all;
  for (const Found& found : list(storage, root)) all.push_back(found.step);
  return all;
}
std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> all;
  for (const auto& entry : fs::directory_iterator(folder)) all.push_back(entry.path().filename());
  std::sort(all.begin(), all.end());
  return all;
}
std::string config_problem(Store& store) {
  try {
    store.enter();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

/// The system itself, without the exchange of two names.
class NoExchange final : public io::Storage {
  int exchange(const std::string&, const std::string&) override { return -EINVAL; }
};

}  // namespace

TEST_CASE("checkpoints are listed newest first, and only what is named as one is") {
  MemoryStorage storage;
  CHECK(list(storage, "/none").empty());
  REQUIRE(storage.make_folder("/save") == 0);
  for (const char* name :
       {"step-000000000002", "step-000000000010", "step-1000000000000", "step-2", "step-",
        "step-00000000000x", "step-0000000000002", "step-99999999999999999999999",
        "step-000000000003.tmp", ".saving-step-000000000005-1", "other"})
    REQUIRE(storage.make_folder(std::string("/save/") + name) == 0);
  CHECK(steps(storage, "/save") == std::vector<std::uint64_t>{1'000'000'000'000, 10, 2});
  CHECK(folder_name(120) == "step-000000000120");
  CHECK(list(storage, "/save").back().folder == "/save/step-000000000002");
}

TEST_CASE("a root that cannot be read is a DataError with its name") {
  MemoryStorage storage;
  REQUIRE(storage.close(storage.create("/file", io::Cache::through)) == 0);
  CHECK_THROWS_AS((void)list(storage, "/file"), DataError);
}

TEST_CASE("retention keeps the newest up to what was published, and never less than that one") {
  MemoryStorage storage;
  Store store(storage, "/save");
  store.enter();
  for (const std::uint64_t step : {1u, 2u, 3u, 9u}) (void)save(store, step, step);
  store.keep(2, 3);  // 9 is of another run of these steps
  CHECK(steps(storage, "/save") == std::vector<std::uint64_t>{9, 3, 2});
  store.keep(1, 3);
  CHECK(steps(storage, "/save") == std::vector<std::uint64_t>{9, 3});
  store.keep(0, 9);
  CHECK(steps(storage, "/save") == std::vector<std::uint64_t>{9});
}

TEST_CASE("the newest whole checkpoint is found, and of newer ones is told why not") {
  MemoryStorage storage;
  Store store(storage, "/save");
  store.enter();
  for (const std::uint64_t step : {1u, 2u, 3u}) (void)save(store, step, step);
  storage.alter("/save/step-000000000003/rank-000.bin", FileBytes(4096));
  REQUIRE(storage.rename("/save/step-000000000002", "/save/step-000000000004") == 0);
  REQUIRE(storage.make_folder("/save/step-000000000005") == 0);
  std::vector<std::string> passed;
  const auto found = find_latest(storage, "/save", [&](const Found& one, const std::string& why) {
    passed.push_back(std::to_string(one.step) + " " + why);
  });
  REQUIRE(found);
  CHECK(found->step == 1);
  REQUIRE(passed.size() == 3);
  CHECK(contains(passed[0], "manifest.json: open failed (No such file or directory)"));
  CHECK(contains(passed[1], "got a checkpoint of step 2"));
  CHECK(contains(passed[2], "rank-000.bin"));
}

TEST_CASE("one run at a time enters a root, and it removes what dead ones left") {
  const TempFolder temp;
  const std::string root = temp.path() + "/new/save";
  {
    Store store(io::storage(), root + "//");
    store.enter();
    CHECK(store.root() == root);
    (void)save(store, 1, 10);
    fs::create_directories(store.draft(2, 1));
    std::ofstream(store.draft(2, 1) + "/rank-000.bin") << "half";
    fs::create_directories(root + "/.removed-step-000000000000");
    Store second(io::storage(), root);
    CHECK(contains(config_problem(second), "another run saves into " + root));
    CHECK(fs::exists(store.draft(2, 1)));
  }
  Store third(io::storage(), root);
  CHECK(config_problem(third).empty());
  CHECK(names_in(root) == std::vector<std::string>{"step-000000000001"});
  CHECK(fs::status(root + "/step-000000000001").permissions() == fs::perms::owner_all);
}

TEST_CASE("a root that cannot be made, opened or locked is refused by name") {
  MemoryStorage storage;
  REQUIRE(storage.close(storage.create("/file", io::Cache::through)) == 0);
  Store inside(storage, "/file/save");
  CHECK(contains(config_problem(inside), "/file/save"));
  Store itself(storage, "/file");
  CHECK(contains(config_problem(itself), "cannot use /file"));
  class NoLocks final : public MemoryStorage {
    int lock(int) override { return -ENOLCK; }
  } no_locks;
  Store unlocked(no_locks, "/save");
  CHECK(contains(config_problem(unlocked), "cannot lock /save (No locks available)"));
}

TEST_CASE("a step that is there already is replaced, also where names cannot be exchanged") {
  NoExchange without;
  for (io::Storage* storage : {&io::storage(), static_cast<io::Storage*>(&without)}) {
    const TempFolder temp;
    Store store(*storage, temp.path());
    store.enter();
    for (const std::uint64_t seed : {10u, 11u, 12u}) {
      const std::string folder = save(store, 7, seed, seed);
      const Checkpoint found(*storage, folder);
      CHECK(found.verify().empty());
      CHECK(seed_of(found) == seed);
      CHECK(names_in(temp.path()) == std::vector<std::string>{"step-000000000007"});
      CHECK(names_in(folder) == std::vector<std::string>{"manifest.json", "rank-000.bin",
                                                         "rank-001.bin", "rank-002.bin"});
    }
  }
}

TEST_CASE("a publication tells its size, and one with a part missing leaves nothing visible") {
  MemoryStorage storage;
  Store store(storage, "/save");
  store.enter();
  const std::string draft = store.draft(3, 1);
  for (Rank rank = 0; rank < ranks; ++rank)
    CHECK(SmallWriter(storage, rank).save(store, draft, 3).get().empty());
  REQUIRE(storage.remove(draft + "/.part-001.json") == 0);
  Bytes bytes = 0;
  CHECK_THROWS_AS((void)store.publish(draft, manifest_of(3, 3), bytes), DataError);
  CHECK(list(storage, "/save").empty());
  store.discard(draft);
  const std::string folder = save(store, 3, 3, 2);
  Store other(storage, "/save");
  const std::string second = store.draft(4, 3);
  for (Rank rank = 0; rank < ranks; ++rank)
    CHECK(SmallWriter(storage, rank).save(store, second, 4).get().empty());
  const std::string published = other.publish(second, manifest_of(4, 4), bytes);
  Bytes sum = 0;
  for (const char* name : {"manifest.json", "rank-000.bin", "rank-001.bin", "rank-002.bin"})
    sum += storage.bytes_of(published + "/" + name).size();
  CHECK(bytes == sum);
}

TEST_CASE("a folder that is removed is out of sight at once and then gone") {
  MemoryStorage storage;
  Store store(storage, "/save");
  store.enter();
  const std::string folder = save(store, 1, 1);
  REQUIRE(storage.make_folder("/save/.removed-step-000000000001") == 0);  // of a failed removal
  store.remove(folder);
  std::vector<std::string> left;
  REQUIRE(storage.list("/save", left) == 0);
  CHECK(left.empty());
  CHECK_THROWS_AS(store.remove(folder), DataError);
  store.discard(folder);
}
