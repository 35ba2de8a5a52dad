#include "data/paths.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

namespace fs = std::filesystem;

/// The files found, relative to the folder.
std::vector<std::string> found(const test::TempFolder& folder,
                               const std::vector<std::string>& names = {""}) {
  std::vector<std::string> paths;
  for (const std::string& name : names) paths.push_back(folder.path() + "/" + name);
  std::vector<std::string> files = files_of(paths);
  for (std::string& file : files) file = file.substr(folder.path().size() + 1);
  return files;
}

TEST_CASE("A folder is walked recursively in the order of path bytes") {
  const test::TempFolder folder;
  for (const char* name : {"b", "a/z", "a.txt", "a/b/c", "B", "\xc3\xa4"}) folder.write(name, "x");
  CHECK(found(folder) == std::vector<std::string>{"B", "a.txt", "a/b/c", "a/z", "b", "\xc3\xa4"});
}

TEST_CASE("Hidden names, label arrays and special files in folders are skipped") {
  const test::TempFolder folder;
  for (const char* name : {"a.npy", ".hidden", ".git/config", "labels.npy", "s/labels.npy"}) {
    folder.write(name, "x");
  }
  REQUIRE(::mkfifo((folder.path() + "/pipe").c_str(), 0600) == 0);
  CHECK(found(folder) == std::vector<std::string>{"a.npy"});
}

TEST_CASE("What a run keeps beside its data is no data") {
  const test::TempFolder folder;
  for (const char* name : {"a", "run.jsonl", "saves/x", "z"}) folder.write(name, "x");
  fs::create_symlink("saves", folder.path() + "/link");
  const auto at = [&](const char* name) { return folder.path() + "/" + name; };
  const std::vector<std::string> skip = {"", at("none"), at("run.jsonl"), at("saves")};
  CHECK(files_of({folder.path()}, skip) == std::vector<std::string>{at("a"), at("z")});
}

TEST_CASE("A file is read once however many links lead to it") {
  const test::TempFolder folder;
  folder.write("GPL-3", "text");
  folder.write("other", "text");
  fs::create_symlink("GPL-3", folder.path() + "/GPL");
  fs::create_hard_link(folder.path() + "/GPL-3", folder.path() + "/LGPL");
  CHECK(found(folder) == std::vector<std::string>{"GPL", "other"});
  CHECK(found(folder, {"other", "", "GPL-3"}) == std::vector<std::string>{"other", "GPL"});
}

TEST_CASE("Links to folders are followed, and round trips end") {
  const test::TempFolder folder, outside;
  folder.write("sub/a", "x");
  outside.write("b", "x");
  fs::create_directory_symlink("..", folder.path() + "/sub/up");
  fs::create_directory_symlink(outside.path(), folder.path() + "/out");
  CHECK(found(folder) == std::vector<std::string>{"out/b", "sub/a"});
}

TEST_CASE("Files keep the order in which they were named") {
  const test::TempFolder folder;
  for (const char* name : {"d/2", "d/1", "c"}) folder.write(name, "x");
  CHECK(found(folder, {"d/2", "c", "d"}) == std::vector<std::string>{"d/2", "c", "d/1"});
}

TEST_CASE("Dangling links and long lists of missing paths are reported") {
  const test::TempFolder folder;
  fs::create_symlink("nowhere", folder.path() + "/broken");
  CHECK(test::contains(test::message_of<DataError>([&] { (void)found(folder); }), "broken"));
  const std::vector<std::string> missing(25, "none");
  const std::string message = test::message_of<DataError>([&] { (void)found(folder, missing); });
  CHECK(test::contains(message, "25 path(s)"));
  CHECK(test::contains(message, "and 5 more"));
}

TEST_CASE("Files and folders without permission are all listed") {
  const test::TempFolder folder;
  REQUIRE(::chmod(folder.write("secret", "x").c_str(), 0) == 0);
  folder.write("closed/a", "x");
  const std::string closed = folder.path() + "/closed";
  REQUIRE(::chmod(closed.c_str(), 0) == 0);
  const uid_t self = ::geteuid();
  if (self == 0) {  // root may read everything, so be somebody else for a moment
    REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
    REQUIRE(::seteuid(65534) == 0);
  }
  const std::string message = test::message_of<DataError>([&] { (void)found(folder); });
  REQUIRE(::seteuid(self) == 0);
  ::chmod(closed.c_str(), 0700);
  CHECK(test::contains(message, "secret (Permission"));
  CHECK(test::contains(message, "closed (Permission"));
}

}  // namespace
}  // namespace sherd::data
